/* SPDX-License-Identifier: MIT */
/* The writer of listings: each kind of column as people read it, and as programs do. */
#include <stdio.h>
#include <stdlib.h>

#include "operator/listing.h"

#include "json_read.h"
#include "operator_fixture.h"

struct figures {
	const char *name, *state;
	uint64_t count, pages, bytes, ticks, time, percent;
};

#define AT(field) offsetof(struct figures, field)
static const struct listing_column rows[] = {
	{ "name", "NAME", LISTING_NAME, AT(name) },
	{ "state", "STATE", LISTING_STATE, AT(state) },
	{ "count", "COUNT", LISTING_COUNT, AT(count) },
	{ "pages", "PAGES", LISTING_PAGES, AT(pages) },
	{ "bytes", "BYTES", LISTING_BYTES_K, AT(bytes) },
	{ "ticks", "TICKS", LISTING_TICKS, AT(ticks) },
	{ "time", "TIME", LISTING_TIME, AT(time) },
	{ "percent", "PERCENT", LISTING_PERCENT, AT(percent) },
};
static const struct listing_columns all = LISTING_COLUMNS(rows);

static const struct figures some = {
	"web-1", "paused (out of memory)", 7, 300, 20480, 123456, 1234567, 205
};
static const struct figures large = { "a-name-of-31-characters-is-long",
				      "running",
				      UINT64_MAX,
				      UINT64_MAX >> 12,
				      UINT64_MAX,
				      UINT64_MAX,
				      UINT64_MAX,
				      UINT64_MAX };

static struct listing listing;

static void begin(bool is_json)
{
	fake_console_clear();
	listing_begin(&listing, is_json);
}

static const char *end(void)
{
	listing_end(&listing);
	return fake_console_text();
}

static const char *table(bool is_json, const struct listing_columns *columns,
			 const struct figures *const *data, unsigned count)
{
	begin(is_json);
	listing_table_open(&listing, "rows", columns);
	for (unsigned i = 0; i < count; i++)
		listing_row(&listing, data[i]);
	listing_table_close(&listing);
	return end();
}

/* --- text ------------------------------------------------------------------------------------- */

TEST(operator_listing, a_table_is_aligned)
{
	const struct figures *data[] = { &some, &(struct figures){ .name = "", .state = "" } };
	assert_string_equal(table(false, &all, data, 2),
			    "NAME            STATE                     COUNT    PAGES    BYTES"
			    "            TICKS        TIME  PERCENT\n"
			    "web-1           paused (out of memory)        7    1200K      20K"
			    "           123456      1.234s    2.05%\n"
			    "                                              0       0K       0K"
			    "                0      0.000s    0.00%\n");
}

/* They push what follows to the right, and nothing is cut. */
TEST(operator_listing, long_values_stay_whole)
{
	const struct figures *data[] = { &large };
	const char *text = table(false, &all, data, 1);
	assert_string_equal(
		strchr(text, '\n') + 1,
		"a-name-of-31-characters-is-long running                18446744073709551615 "
		"17592186044415M 17592186044415M 18446744073709551615 18446744073709.551s "
		"184467440737095516.15%\n");
}

TEST(operator_listing, a_wide_title_widens_its_column)
{
	static const struct listing_column wide_rows[] = {
		{ "count", "A WIDE TITLE", LISTING_COUNT, AT(count) },
		{ "ticks", "T", LISTING_TICKS, AT(ticks) },
		{ "percent", "PER CENT OF IT", LISTING_PERCENT, AT(percent) },
	};
	static const struct listing_columns wide = LISTING_COLUMNS(wide_rows);
	const struct figures *data[] = { &some };
	assert_string_equal(table(false, &wide, data, 1),
			    "A WIDE TITLE                T PER CENT OF IT\n"
			    "           7           123456          2.05%\n");
}

TEST(operator_listing, sizes_are_in_k_up_to_10_mib)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
		{ 0, "0K" },
		{ 1023, "0K" },
		{ 1024, "1K" },
		{ (10ull << 20) - 1, "10239K" },
		{ 10ull << 20, "10M" },
		{ (11ull << 20) - 1, "10M" },
		{ 1ull << 40, "1048576M" },
		{ UINT64_MAX, "17592186044415M" },
	};
	char text[16];
	for (unsigned i = 0; i < ARRAY_COUNT(sizes); i++)
		assert_string_equal(listing_size_text(sizes[i].bytes, text, sizeof(text)),
				    sizes[i].text);
}

TEST(operator_listing, times_and_percents_have_their_zeros)
{
	static const struct listing_column two_rows[] = {
		{ "time", "for", LISTING_TIME, AT(time) },
		{ "percent", "at", LISTING_PERCENT, AT(percent) },
	};
	static const struct listing_columns two = LISTING_COLUMNS(two_rows);
	begin(false);
	listing_fields(&listing, "", &two, &(struct figures){ .time = 5001999, .percent = 1 });
	listing_fields(&listing, "", &two, &(struct figures){ .time = 999, .percent = 9999 });
	assert_string_equal(end(), "            for 5.001s, at 0.01%\n"
				   "            for 0.000s, at 99.99%\n");
}

TEST(operator_listing, a_group_is_a_line_with_its_label)
{
	begin(false);
	listing_group(&listing, "machine", &all, &some);
	listing_open(&listing, "inner");
	listing_fields(&listing, "a long label", &all, &some);
	listing_close(&listing);
	assert_string_equal(end(),
			    "machine     NAME web-1, STATE paused (out of memory), COUNT 7, PAGES "
			    "1200K, BYTES 20K, TICKS 123456, TIME 1.234s, PERCENT 2.05%\n"
			    "a long label NAME web-1, STATE paused (out of memory), COUNT 7, PAGES "
			    "1200K, BYTES 20K, TICKS 123456, TIME 1.234s, PERCENT 2.05%\n");
}

/* --- columns for one kind of reader ------------------------------------------------------------ */

TEST(operator_listing, a_column_may_be_for_people_or_programs_only)
{
	static const struct listing_column mixed_rows[] = {
		{ "for_programs", NULL, LISTING_COUNT, AT(count) },
		{ NULL, "PEOPLE", LISTING_COUNT, AT(ticks) },
		{ "both", "BOTH", LISTING_COUNT, AT(bytes) },
		{ "name", NULL, LISTING_NAME, AT(name) },
	};
	static const struct listing_columns mixed = LISTING_COLUMNS(mixed_rows);
	const struct figures *data[] = { &some };
	assert_string_equal(table(false, &mixed, data, 1), "  PEOPLE     BOTH\n"
							   "  123456    20480\n");
	assert_string_equal(
		table(true, &mixed, data, 1),
		"{\"rows\":[{\"for_programs\":7,\"both\":20480,\"name\":\"web-1\"}]}\n");
	begin(false);
	listing_group(&listing, "group", &mixed, &some);
	assert_string_equal(end(), "group       PEOPLE 123456, BOTH 20480\n");
	begin(true);
	listing_group(&listing, "group", &mixed, &some);
	assert_string_equal(end(),
			    "{\"group\":{\"for_programs\":7,\"both\":20480,\"name\":\"web-1\"}}\n");
}

/* --- JSON ----------------------------------------------------------------------------------------- */

TEST(operator_listing, programs_get_plain_numbers)
{
	const struct figures *data[] = { &some, &large };
	const char *text = table(true, &all, data, 2);
	EXPECT(text[strlen(text) - 1] == '\n' && strchr(text, '\n') == text + strlen(text) - 1);
	char *object = strndup(text, strlen(text) - 1);
	EXPECT(json_count_at(object, "rows") == 2);
	assert_string_equal(json_keys_at(object, ""), "rows");
	assert_string_equal(json_keys_at(object, "rows[1]"),
			    "name,state,count,pages,bytes,ticks,time,percent");
	assert_string_equal(json_text_at(object, "rows[0].state"), some.state);
	EXPECT(json_number_at(object, "rows[0].pages") == 300);
	EXPECT(json_number_at(object, "rows[0].time") == 1234567);
	EXPECT(json_number_at(object, "rows[0].percent") == 205);
	assert_string_equal(json_text_at(object, "rows[1].name"), large.name);
	EXPECT(json_number_at(object, "rows[1].bytes") == UINT64_MAX);
	free(object);
}

TEST(operator_listing, empty_listings_are_whole)
{
	static const struct listing_columns none = { rows, 0 };
	assert_string_equal(table(true, &all, NULL, 0), "{\"rows\":[]}\n");
	EXPECT(strchr(table(false, &all, NULL, 0), '\n')[1] == 0);
	begin(true);
	assert_string_equal(end(), "{}\n");
	begin(false);
	assert_string_equal(end(), "");
	begin(true);
	listing_group(&listing, "group", &none, &some);
	listing_open(&listing, "inner");
	listing_close(&listing);
	assert_string_equal(end(), "{\"group\":{},\"inner\":{}}\n");
}

/* No name that Quire lets in has such characters; the writer does not rely on it. */
TEST(operator_listing, texts_are_escaped)
{
	const struct figures odd = { .name = "a\"b\\c\n\x01\xc3\xa4", .state = "" };
	static const struct listing_columns name = { rows, 1 };
	begin(true);
	listing_fields(&listing, "", &name, &odd);
	assert_string_equal(end(), "{\"name\":\"a\\\"b\\\\c\\u000a\\u0001\xc3\xa4\"}\n");
}

/* The writer's buffer is passed on between two calls: a listing may be as long as it likes. */
TEST(operator_listing, many_rows_and_groups_are_one_object)
{
	static const struct figures *data[1000];
	char path[32];
	for (unsigned i = 0; i < ARRAY_COUNT(data); i++)
		data[i] = i % 2 ? &large : &some;
	begin(true);
	for (unsigned i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "group%u", i);
		listing_open(&listing, path);
		listing_fields(&listing, "", &all, &large);
		listing_group(&listing, "inner", &all, &some);
		listing_close(&listing);
	}
	listing_table_open(&listing, "rows", &all);
	for (unsigned i = 0; i < ARRAY_COUNT(data); i++)
		listing_row(&listing, data[i]);
	listing_table_close(&listing);
	char *object = strdup(end());
	object[strlen(object) - 1] = 0;
	EXPECT(!listing.json.is_cut);
	EXPECT(json_count_at(object, "rows") == 1000);
	EXPECT(json_number_at(object, "rows[999].ticks") == UINT64_MAX);
	EXPECT(json_number_at(object, "rows[998].ticks") == some.ticks);
	free(object);
}

/* What these tests and others read JSON with. */
TEST(operator_listing, the_reader_of_json_is_strict)
{
	static const char *const good[] = {
		"{}", "[]", "0", "10", "\"\"", "[{\"a\":[1,\"b\"]},{}]", "\"\\u00e4\\n\""
	};
	static const char *const bad[] = {
		"",       "{",       "}",          "{}{}",     "[1,]",
		"[,1]",   "{\"a\"}", "{a:1}",      "{\"a\":}", "{,}",
		"01",     "-1",      "1.5",        "[1 ]",     "{\"a\":1,\"a\":2}",
		"\"\n\"", "\"\\x\"", "\"\\u12\"",  "\"",       "{\"a\":1",
		"[1}",    "{}\n",    "{\"a\":1,}",
	};
	for (unsigned i = 0; i < ARRAY_COUNT(good); i++)
		if (!json_is_valid(good[i]))
			fail_msg("not taken: %s", good[i]);
	for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
		if (json_is_valid(bad[i]))
			fail_msg("taken: %s", bad[i]);
	EXPECT(json_number_at("{\"a\":[{\"b\":1},{\"bc\":2,\"b\":3}]}", "a[1].b") == 3);
}
