/* SPDX-License-Identifier: MIT */
/* Only put() adds to the text. One flag says whether a comma is due, so nesting needs no stack. */
#include "lib/json.h"

#include "lib/format.h"

void json_init(struct json *json, char *buffer, size_t size_bytes)
{
	*json = (struct json){ .text = buffer, .size_bytes = size_bytes };
	buffer[0] = 0;
}

static void put(struct json *json, char c)
{
	if (json->used_bytes + 1 >= json->size_bytes) {
		json->is_cut = true;
		return;
	}
	json->text[json->used_bytes++] = c;
	json->text[json->used_bytes] = 0;
}

static void put_plain(struct json *json, const char *text)
{
	for (; *text; text++)
		put(json, *text);
}

static void put_quoted(struct json *json, const char *text)
{
	char escape[8];
	put(json, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c < 0x20) {
			format_text(escape, sizeof(escape), "\\u%04x", c);
			put_plain(json, escape);
			continue;
		}
		if (c == '"' || c == '\\')
			put(json, '\\');
		put(json, *text);
	}
	put(json, '"');
}

/* Writes what precedes every value: a comma, the key. */
static void begin(struct json *json, const char *key)
{
	if (json->needs_comma)
		put(json, ',');
	json->needs_comma = true;
	if (!key)
		return;
	put_quoted(json, key);
	put(json, ':');
}

static void open(struct json *json, const char *key, char bracket)
{
	begin(json, key);
	put(json, bracket);
	json->needs_comma = false;
}

static void close(struct json *json, char bracket)
{
	put(json, bracket);
	json->needs_comma = true;
}

void json_object_open(struct json *json, const char *key)
{
	open(json, key, '{');
}

void json_object_close(struct json *json)
{
	close(json, '}');
}

void json_array_open(struct json *json, const char *key)
{
	open(json, key, '[');
}

void json_array_close(struct json *json)
{
	close(json, ']');
}

void json_text(struct json *json, const char *key, const char *value)
{
	begin(json, key);
	put_quoted(json, value);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
	char digits[24];
	format_text(digits, sizeof(digits), "%llu", (unsigned long long)value);
	begin(json, key);
	put_plain(json, digits);
}

const char *json_take(struct json *json, size_t *out_bytes)
{
	*out_bytes = json->used_bytes;
	json->used_bytes = 0;
	return json->text;
}
