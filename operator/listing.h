/* SPDX-License-Identifier: MIT */
/*
 * Writes a listing to the console: aligned text for people, or one JSON object on one line for
 * programs. What is listed is stated once, as columns. A column is a row with a key for programs,
 * a title for people, and the place of the value in a struct.
 *
 *   text                                       JSON
 *   machine   memory 490M, chunks 245, ...     {"machine":{"bytes":513802240,"chunks":245,...},
 *   NAME             MEMORY    ZERO             "vms":[{"name":"one","pages":131072,"zero":...},
 *   one                512M    390M                   ...]}
 *
 * For the operator's thread only, whose stack has room for one struct listing.
 */
#ifndef OPERATOR_LISTING_H
#define OPERATOR_LISTING_H

#include "lib/json.h"

#define LISTING_BYTES 2048u /* of JSON between two listing calls */

/* The type of a field, and how people read it. Programs get the plain number. */
enum listing_kind {
	LISTING_NAME,    /* const char *; 15 columns wide */
	LISTING_STATE,   /* const char *; 22 columns wide */
	LISTING_COUNT,   /* uint64_t */
	LISTING_PAGES,   /* uint64_t, pages; for people in K or M */
	LISTING_BYTES_K, /* uint64_t, bytes; for people in K or M */
	LISTING_TICKS,   /* uint64_t, TSC ticks; 16 columns wide */
	LISTING_TIME,    /* uint64_t, microseconds; for people in seconds */
	LISTING_PERCENT, /* uint64_t, hundredths of a percent; for people with a point */
};

struct listing_column {
	const char *key;   /* NULL: for people only */
	const char *title; /* NULL: for programs only */
	enum listing_kind kind;
	uint32_t offset; /* of the field in the struct that a row is made from */
};

struct listing_columns {
	const struct listing_column *rows;
	unsigned count;
};
#define LISTING_COLUMNS(array)              \
	{                                   \
		(array), ARRAY_COUNT(array) \
	}

struct listing {
	bool is_json;
	struct json json;
	char buffer[LISTING_BYTES];
	const struct listing_columns *columns; /* of the open table */
};

/* Between these two calls comes all that is listed. JSON: the outermost object. */
void listing_begin(struct listing *listing, bool is_json);
void listing_end(struct listing *listing);

/* JSON: an object around what follows, until it is closed. Text: nothing. `key` may be NULL. */
void listing_open(struct listing *listing, const char *key);
void listing_close(struct listing *listing);
/* Text: one line that begins with `label`. JSON: fields of the open object. */
void listing_fields(struct listing *listing, const char *label,
		    const struct listing_columns *columns, const void *data);
/* listing_fields() in an object of its own, whose key is also the label. */
void listing_group(struct listing *listing, const char *key, const struct listing_columns *columns,
		   const void *data);

/* Text: a line of titles, then a line for each row. JSON: an array of objects. */
void listing_table_open(struct listing *listing, const char *key,
			const struct listing_columns *columns);
void listing_row(struct listing *listing, const void *data);
void listing_table_close(struct listing *listing);

/* Writes a size, in K below 10 MiB and else in M, rounded down. Returns `to`. */
const char *listing_size_text(uint64_t bytes, char *to, size_t size_bytes);

#endif
