/* SPDX-License-Identifier: MIT */
#include "operator/listing.h"

#include <quire/addr.h>

#include "lib/format.h"
#include "lib/string.h"
#include "kernel/console.h"

#define LABEL_COLUMNS 11
#define LINE_BYTES    256u
#define FIELD_BYTES   64u

const char *listing_size_text(uint64_t bytes, char *to, size_t size_bytes)
{
	bool is_small = bytes < 10ull << 20;
	format_text(to, size_bytes, "%llu%c", (unsigned long long)(bytes >> (is_small ? 10 : 20)),
		    is_small ? 'K' : 'M');
	return to;
}

/* --- fields ----------------------------------------------------------------------------------- */

static bool is_text(const struct listing_column *column)
{
	return column->kind == LISTING_NAME || column->kind == LISTING_STATE;
}

static const char *text_of(const struct listing_column *column, const void *data)
{
	return *(const char *const *)((const char *)data + column->offset);
}

static uint64_t number_of(const struct listing_column *column, const void *data)
{
	return *(const uint64_t *)((const char *)data + column->offset);
}

/* Writes the value as people read it. */
static void field_format(const struct listing_column *column, const void *data, char *to)
{
	unsigned long long value = is_text(column) ? 0 : number_of(column, data);
	switch (column->kind) {
	case LISTING_NAME:
	case LISTING_STATE: string_copy(to, FIELD_BYTES, text_of(column, data)); return;
	case LISTING_COUNT:
	case LISTING_TICKS: format_text(to, FIELD_BYTES, "%llu", value); return;
	case LISTING_PAGES: listing_size_text(value << PAGE_SHIFT, to, FIELD_BYTES); return;
	case LISTING_BYTES_K: listing_size_text(value, to, FIELD_BYTES); return;
	case LISTING_TIME:
		format_text(to, FIELD_BYTES, "%llu.%03llus", value / 1000000, value / 1000 % 1000);
		return;
	case LISTING_PERCENT:
		format_text(to, FIELD_BYTES, "%llu.%02llu%%", value / 100, value % 100);
		return;
	}
}

/* Returns how many columns a field has in a table; negative: aligned to the left. */
static int width_of(const struct listing_column *column)
{
	int title = (int)strlen(column->title), least = 8;
	switch (column->kind) {
	case LISTING_NAME: return -15;
	case LISTING_STATE: return -22;
	case LISTING_TICKS: least = 16; break;
	case LISTING_TIME: least = 11; break;
	case LISTING_COUNT:
	case LISTING_PAGES:
	case LISTING_BYTES_K:
	case LISTING_PERCENT: break;
	}
	return title > least ? title : least;
}

static void json_send(struct listing *listing)
{
	size_t count;
	const char *text = json_take(&listing->json, &count);
	console_write(text, count);
}

static void json_fields(struct listing *listing, const struct listing_columns *columns,
			const void *data)
{
	for (unsigned i = 0; i < columns->count; i++) {
		const struct listing_column *column = &columns->rows[i];
		if (!column->key)
			continue;
		if (is_text(column))
			json_text(&listing->json, column->key, text_of(column, data));
		else
			json_number(&listing->json, column->key, number_of(column, data));
	}
	json_send(listing);
}

/* --- the listing ------------------------------------------------------------------------------ */

void listing_begin(struct listing *listing, bool is_json)
{
	listing->is_json = is_json;
	json_init(&listing->json, listing->buffer, sizeof(listing->buffer));
	listing_open(listing, NULL);
}

void listing_end(struct listing *listing)
{
	listing_close(listing);
	if (!listing->is_json)
		return;
	json_send(listing);
	console_write("\r\n", 2);
}

void listing_open(struct listing *listing, const char *key)
{
	if (listing->is_json)
		json_object_open(&listing->json, key);
}

void listing_close(struct listing *listing)
{
	if (listing->is_json)
		json_object_close(&listing->json);
}

void listing_fields(struct listing *listing, const char *label,
		    const struct listing_columns *columns, const void *data)
{
	char line[LINE_BYTES], field[FIELD_BYTES];
	if (listing->is_json) {
		json_fields(listing, columns, data);
		return;
	}
	size_t used = format_text(line, sizeof(line), "%-*s", LABEL_COLUMNS, label);
	const char *before = " ";
	for (unsigned i = 0; i < columns->count && used < sizeof(line); i++) {
		const struct listing_column *column = &columns->rows[i];
		if (!column->title)
			continue;
		field_format(column, data, field);
		used += format_text(line + used, sizeof(line) - used, "%s%s %s", before,
				    column->title, field);
		before = ", ";
	}
	console_print("%s\n", line);
}

void listing_group(struct listing *listing, const char *key, const struct listing_columns *columns,
		   const void *data)
{
	listing_open(listing, key);
	listing_fields(listing, key, columns, data);
	listing_close(listing);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* Prints one line of a table; `data` is NULL for the titles. */
static void line_print(const struct listing_columns *columns, const void *data)
{
	char line[LINE_BYTES] = "", field[FIELD_BYTES];
	size_t used = 0;
	for (unsigned i = 0; i < columns->count && used < sizeof(line); i++) {
		const struct listing_column *column = &columns->rows[i];
		if (!column->title)
			continue;
		if (data)
			field_format(column, data, field);
		int width = width_of(column);
		used += format_text(line + used, sizeof(line) - used,
				    width < 0 ? "%s%-*s" : "%s%*s", used ? " " : "",
				    width < 0 ? -width : width, data ? field : column->title);
	}
	console_print("%s\n", line);
}

void listing_table_open(struct listing *listing, const char *key,
			const struct listing_columns *columns)
{
	listing->columns = columns;
	if (listing->is_json)
		json_array_open(&listing->json, key);
	else
		line_print(columns, NULL);
}

void listing_row(struct listing *listing, const void *data)
{
	if (!listing->is_json) {
		line_print(listing->columns, data);
		return;
	}
	json_object_open(&listing->json, NULL);
	json_fields(listing, listing->columns, data);
	json_object_close(&listing->json);
}

void listing_table_close(struct listing *listing)
{
	if (listing->is_json)
		json_array_close(&listing->json);
}
