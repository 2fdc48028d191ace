/* SPDX-License-Identifier: MIT */
#include "config_words.h"

#include <quire/bits.h>

#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/number.h"
#include "lib/string.h"
#include "lib/words.h"
#include "vm/vm_config.h"

#define VALUES_BYTES 80u

bool config_is_name(const char *text)
{
	size_t length = 0;
	for (; text[length]; length++) {
		char c = text[length];
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return length >= 1 && length < sizeof(vm_name_t);
}

/* --- readers ---------------------------------------------------------------------------------- */

q_status_t word_read(const struct config_key *key, const char *value, void *field)
{
	_Static_assert(sizeof(enum vm_on_reset) == sizeof(unsigned), "enums are stored as such");
	return words_find(key->good, value, field) ? Q_OK : Q_INVALID;
}

q_status_t bool_read(const struct config_key *key, const char *value, void *field)
{
	unsigned index;
	if (!words_find(key->good, value, &index))
		return Q_INVALID;
	*(bool *)field = index != 0;
	return Q_OK;
}

q_status_t count_read(const struct config_key *key, const char *value, void *field)
{
	uint64_t count;
	q_status_t status = number_parse(value, key->most, &count);
	if (status != Q_OK)
		return status;
	if (count < key->least)
		return Q_RANGE;
	*(unsigned *)field = (unsigned)count;
	return Q_OK;
}

q_status_t size_read(const struct config_key *key, const char *value, void *field)
{
	uint64_t bytes;
	q_status_t status = size_parse(value, &bytes);
	if (status != Q_OK)
		return status;
	if (bytes < key->least || (key->most && bytes > key->most))
		return Q_RANGE;
	*(uint64_t *)field = bytes;
	return Q_OK;
}

q_status_t text_read(const struct config_key *key, const char *value, void *field)
{
	if (strlen(value) >= key->size_bytes)
		return Q_RANGE;
	string_copy(field, key->size_bytes, value);
	return Q_OK;
}

q_status_t module_read(const struct config_key *key, const char *value, void *field)
{
	return value[0] ? text_read(key, value, field) : Q_INVALID;
}

q_status_t name_read(const struct config_key *key, const char *value, void *field)
{
	return config_is_name(value) ? text_read(key, value, field) : Q_INVALID;
}

q_status_t group_read(const struct config_key *key, const char *value, void *field)
{
	if (strcmp(value, "none") != 0)
		return name_read(key, value, field);
	*(char *)field = 0;
	return Q_OK;
}

static q_status_t range_read(const char *value, const char *dash, struct vm_bound *bound)
{
	char start[32];
	if ((size_t)(dash - value) >= sizeof(start))
		return Q_INVALID;
	string_copy(start, (size_t)(dash - value) + 1, value);
	q_status_t status = size_parse(start, &bound->start);
	if (status == Q_OK)
		status = size_parse(dash + 1, &bound->end);
	if (status == Q_OK && bound->start >= bound->end)
		status = Q_INVALID;
	return status;
}

q_status_t bound_read(const struct config_key *key, const char *value, void *field)
{
	struct vm_bound bound = { .is_bound = true };
	const char *dash = strchr(value, '-');
	unsigned index = 0;
	q_status_t status = Q_OK;

	(void)key;
	if (dash)
		status = range_read(value, dash, &bound);
	else if (words_find("no|yes", value, &index))
		bound.is_bound = index != 0;
	else
		status = Q_INVALID;
	if (status == Q_OK)
		*(struct vm_bound *)field = bound;
	return status;
}

/* --- what good values look like --------------------------------------------------------------- */

static const char *size_text(uint64_t bytes, char *to, size_t size_bytes)
{
	unsigned shift = is_aligned(bytes, 1u << 20) ? 20 : 10;
	format_text(to, size_bytes, "%llu%c", (unsigned long long)(bytes >> shift),
		    shift == 20 ? 'M' : 'K');
	return to;
}

const char *config_key_values(const struct config_key *key, char *to, size_t size_bytes)
{
	char least[24], most[24];
	if (key->read == word_read || key->read == bool_read)
		return words_list(key->good, to, size_bytes);
	if (key->good)
		string_copy(to, size_bytes, key->good);
	else if (key->read == count_read)
		format_text(to, size_bytes, "a number from %llu to %llu",
			    (unsigned long long)key->least, (unsigned long long)key->most);
	else if (key->read == size_read)
		format_text(to, size_bytes, "a number with K, M or G, from %s to %s",
			    size_text(key->least, least, sizeof(least)),
			    size_text(key->most, most, sizeof(most)));
	else
		format_text(to, size_bytes, "at most %u bytes", key->size_bytes - 1u);
	return to;
}

/* --- keys ------------------------------------------------------------------------------------- */

static q_status_t unknown_refuse(const struct config_keys *keys, const char *name,
				 struct error_text *error)
{
	char names[200] = "";
	size_t used = 0;
	for (unsigned i = 0; i < keys->count && used < sizeof(names); i++)
		used += format_text(names + used, sizeof(names) - used, "%s%s", i ? ", " : "",
				    keys->rows[i].name);
	return refuse(error, Q_NOT_FOUND, "no key '%.20s'; there are %s", name, names);
}

q_status_t config_key_set(const struct config_keys *keys, const char *name, const char *value,
			  void *to, uint64_t *given, struct error_text *error)
{
	unsigned i = 0;
	while (i < keys->count && strcmp(keys->rows[i].name, name) != 0)
		i++;
	if (i == keys->count)
		return unknown_refuse(keys, name, error);
	if (*given & BIT64(i))
		return refuse(error, Q_EXISTS, "'%s' is given twice", name);

	const struct config_key *key = &keys->rows[i];
	char values[VALUES_BYTES];
	q_status_t status = key->read(key, value, (char *)to + key->offset);
	if (status != Q_OK)
		return refuse(error, status, "%s = '%.40s': must be %s", name, value,
			      config_key_values(key, values, sizeof(values)));
	*given |= BIT64(i);
	return Q_OK;
}

bool config_key_is_given(const struct config_keys *keys, size_t offset, uint64_t given)
{
	for (unsigned i = 0; i < keys->count; i++)
		if (keys->rows[i].offset == offset)
			return given & BIT64(i);
	return false;
}
