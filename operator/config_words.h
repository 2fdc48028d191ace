/* SPDX-License-Identifier: MIT */
/*
 * Keys and their values. A key is a row: its name, the field that it sets, and the reader of its
 * values. Only a good value is stored, so a refused key changes nothing.
 */
#ifndef OPERATOR_CONFIG_WORDS_H
#define OPERATOR_CONFIG_WORDS_H

#include <quire/status.h>

struct error_text;

#define CONFIG_NAME_GOOD "1 to 31 of a-z, 0-9 and '-'"

struct config_key {
	const char *name;
	/* Reads `value` into the field. Q_INVALID, Q_RANGE: not a good value. */
	q_status_t (*read)(const struct config_key *key, const char *value, void *field);
	/* The good values, separated by bars; or what a good value looks like; or NULL. */
	const char *good;
	uint16_t offset, size_bytes; /* of the field */
	uint32_t least, most;        /* of a number; most 0: no limit */
};

/* The end of a row: how a value is read. WORD stores the position of the word in the list. */
#define WORD(list)              .read = word_read, .good = (list)
#define YES_NO                  .read = bool_read, .good = "no|yes"
#define ON_OFF                  .read = bool_read, .good = "off|on"
#define COUNT(first, last)      .read = count_read, .least = (first), .most = (last)
#define SIZE                    .read = size_read, .good = "a number with K, M or G"
#define SIZE_RANGE(first, last) .read = size_read, .least = (first), .most = (last)
#define TEXT                    .read = text_read
#define MODULE                  .read = module_read, .good = "the name of a module"
#define NAME                    .read = name_read, .good = CONFIG_NAME_GOOD
#define GROUP                   .read = group_read, .good = "none, or " CONFIG_NAME_GOOD
#define BOUND                   .read = bound_read, .good = "yes, no, or START-END with K, M or G"

#define CONFIG_KEY(type, key_name, field, ...)                        \
	{                                                             \
		.name = (key_name), .offset = offsetof(type, field),  \
		.size_bytes = sizeof(((type *)0)->field), __VA_ARGS__ \
	}

typedef q_status_t config_read_t(const struct config_key *key, const char *value, void *field);
config_read_t word_read, bool_read, count_read, size_read, text_read, module_read, name_read,
	group_read, bound_read;

/* A set of keys. Which ones were given is a word of bits beside it; each may be given once. */
struct config_keys {
	const struct config_key *rows;
	unsigned count; /* at most 64 */
};

/*
 * Sets the field of `to` that the key stands for, and the key's bit in *given. Q_NOT_FOUND: no such
 * key; Q_EXISTS: given before; Q_INVALID, Q_RANGE: not a good value. Then `error` says why.
 */
q_status_t config_key_set(const struct config_keys *keys, const char *name, const char *value,
			  void *to, uint64_t *given, struct error_text *error) Q_MUST_USE;

/* True if the field at `offset` was given. */
bool config_key_is_given(const struct config_keys *keys, size_t offset, uint64_t given);

/* Writes what a good value looks like, as people read it after "must be ". Returns `to`. */
const char *config_key_values(const struct config_key *key, char *to, size_t size_bytes);

/* True for a good name of a VM or of a sharing group: CONFIG_NAME_GOOD. */
bool config_is_name(const char *text);

#endif
