/* SPDX-License-Identifier: MIT */
/* Each reader takes a value at the start of a text, and returns what follows it; NULL: it is none. */
#include "json_read.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define MEMBERS_MAX 64u
#define KEY_BYTES   64u

static const char *value_skip(const char *at);

static bool is_hex(const char *at, unsigned count)
{
	while (count && isxdigit((unsigned char)*at)) {
		at++;
		count--;
	}
	return count == 0;
}

static const char *string_skip(const char *at)
{
	if (*at++ != '"')
		return NULL;
	for (; *at != '"'; at++) {
		if ((unsigned char)*at < 0x20)
			return NULL;
		if (*at != '\\')
			continue;
		at++;
		if (*at == 'u' ? !is_hex(at + 1, 4) : !*at || !strchr("\"\\/bfnrt", *at))
			return NULL;
	}
	return at + 1;
}

/* Whole numbers only: Quire has no others. */
static const char *number_skip(const char *at)
{
	const char *start = at;
	while (isdigit((unsigned char)*at))
		at++;
	bool has_zero = *start == '0' && at > start + 1;
	return at == start || has_zero ? NULL : at;
}

/* The members of an object or an array; `each` sees where a member begins, and where its value does. */
static const char *members_walk(const char *at, bool (*each)(void *, const char *, const char *),
				void *context)
{
	bool is_object = *at == '{';
	char end = is_object ? '}' : ']';
	if (*++at == end)
		return at + 1;
	for (;; at++) {
		const char *member = at;
		if (is_object) {
			at = string_skip(at);
			if (!at || *at++ != ':')
				return NULL;
		}
		if (each && !each(context, member, at))
			return NULL;
		at = value_skip(at);
		if (!at || (*at != ',' && *at != end))
			return NULL;
		if (*at == end)
			return at + 1;
	}
}

struct keys {
	char name[MEMBERS_MAX][KEY_BYTES];
	unsigned count;
};

static void string_take(const char *at, char *to, size_t size_bytes)
{
	size_t length = (size_t)(string_skip(at) - at) - 2;
	EXPECT(length < size_bytes);
	memcpy(to, at + 1, length);
	to[length] = 0;
}

/* False: a key is there twice. */
static bool key_note(void *context, const char *member, const char *value)
{
	struct keys *keys = context;
	(void)value;
	EXPECT(keys->count < MEMBERS_MAX);
	string_take(member, keys->name[keys->count], KEY_BYTES);
	for (unsigned i = 0; i < keys->count; i++)
		if (strcmp(keys->name[i], keys->name[keys->count]) == 0)
			return false;
	keys->count++;
	return true;
}

static const char *value_skip(const char *at)
{
	struct keys keys = { .count = 0 };
	switch (*at) {
	case '{': return members_walk(at, key_note, &keys);
	case '[': return members_walk(at, NULL, NULL);
	case '"': return string_skip(at);
	default: return number_skip(at);
	}
}

bool json_is_valid(const char *text)
{
	const char *end = value_skip(text);
	return end && *end == 0;
}

/* --- paths --------------------------------------------------------------------------------------- */

struct search {
	const char *key; /* or NULL: the element at `index` */
	size_t length;
	unsigned index;
	const char *found;
};

static bool member_match(void *context, const char *member, const char *value)
{
	struct search *search = context;
	bool is_it = search->key ? strncmp(member + 1, search->key, search->length) == 0 &&
					   member[search->length + 1] == '"'
				 : search->index-- == 0;
	if (is_it)
		search->found = value;
	return !is_it;
}

/* Goes one step down `*path`. */
static const char *step(const char *at, const char **path)
{
	struct search search = { .key = NULL };
	if (**path == '[') {
		search.index = (unsigned)strtoul(*path + 1, (char **)path, 10);
		++*path;
	} else {
		*path += **path == '.';
		search.key = *path;
		search.length = strcspn(*path, ".[");
		*path += search.length;
	}
	if (*at == (search.key ? '{' : '['))
		members_walk(at, member_match, &search);
	return search.found;
}

static const char *value_at(const char *text, const char *path)
{
	const char *at = text, *rest = path;
	if (!json_is_valid(text))
		fail_msg("no JSON: %s", text);
	while (*rest && at)
		at = step(at, &rest);
	if (!at)
		fail_msg("there is no '%s' in %s", path, text);
	return at;
}

const char *json_keys_at(const char *text, const char *path)
{
	static char joined[MEMBERS_MAX * KEY_BYTES];
	struct keys keys = { .count = 0 };
	const char *at = value_at(text, path);
	size_t used = 0;
	EXPECT(*at == '{');
	members_walk(at, key_note, &keys);
	joined[0] = 0;
	for (unsigned i = 0; i < keys.count; i++)
		used += (size_t)snprintf(joined + used, sizeof(joined) - used, "%s%s", i ? "," : "",
					 keys.name[i]);
	return joined;
}

uint64_t json_number_at(const char *text, const char *path)
{
	const char *at = value_at(text, path);
	if (!isdigit((unsigned char)*at))
		fail_msg("'%s' is no number in %s", path, text);
	return strtoull(at, NULL, 10);
}

const char *json_text_at(const char *text, const char *path)
{
	static char value[4096];
	const char *at = value_at(text, path);
	if (*at != '"')
		fail_msg("'%s' is no text in %s", path, text);
	string_take(at, value, sizeof(value));
	return value;
}

static bool member_count(void *context, const char *member, const char *value)
{
	(void)member;
	(void)value;
	++*(unsigned *)context;
	return true;
}

unsigned json_count_at(const char *text, const char *path)
{
	const char *at = value_at(text, path);
	unsigned count = 0;
	if (*at != '[')
		fail_msg("'%s' is no array in %s", path, text);
	members_walk(at, member_count, &count);
	return count;
}
