/* SPDX-License-Identifier: MIT */
/*
 * Writes one JSON object as text, on one line, into the caller's buffer.
 *
 * The writer puts the commas. A text that does not fit is cut, and `is_cut` is set; nothing is
 * written beyond the buffer. A long listing takes the text out with json_take() between its items,
 * and goes on.
 */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <quire/compiler.h>

struct json {
	char *text; /* always terminated */
	size_t size_bytes, used_bytes;
	bool needs_comma;
	bool is_cut;
};

/* Begins an empty text in `buffer`, which has at least one byte. */
void json_init(struct json *json, char *buffer, size_t size_bytes);

/* `key` is NULL inside arrays and for the outermost object. */
void json_object_open(struct json *json, const char *key);
void json_object_close(struct json *json);
void json_array_open(struct json *json, const char *key);
void json_array_close(struct json *json);
void json_text(struct json *json, const char *key, const char *value);
void json_number(struct json *json, const char *key, uint64_t value);

/* Returns what was written since the last call. What follows is written from the buffer's start. */
const char *json_take(struct json *json, size_t *out_bytes);

#endif
