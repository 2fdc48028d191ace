/* SPDX-License-Identifier: MIT */
/* lib's words for people: lists of words, reasons of refusals, and names of exits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quire/vmexit.h>

#include "lib/error_text.h"
#include "lib/words.h"

#include "test.h"

/* --- lists ------------------------------------------------------------------------------------- */

TEST(words, a_word_has_a_position)
{
	static const struct {
		const char *words, *word;
		int index; /* or -1 */
	} rows[] = {
		{ "low|normal|high", "low", 0 },
		{ "low|normal|high", "normal", 1 },
		{ "low|normal|high", "high", 2 },
		{ "low|normal|high", "", -1 },
		{ "low|normal|high", "lo", -1 },
		{ "low|normal|high", "lows", -1 },
		{ "low|normal|high", "hig", -1 },
		{ "low|normal|high", "highs", -1 },
		{ "low|normal|high", "low|normal", -1 },
		{ "low|normal|high", "|", -1 },
		{ "low|normal|high", "High", -1 },
		{ "on", "on", 0 },
		{ "on", "o", -1 },
		{ "", "", 0 },
		{ "", "a", -1 },
		{ "a||b", "", 1 },
		{ "a||b", "b", 2 },
	};
	for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
		unsigned index = 77;
		bool is_found = words_find(rows[i].words, rows[i].word, &index);
		if (is_found != (rows[i].index >= 0) ||
		    index != (is_found ? (unsigned)rows[i].index : 77))
			fail_msg("'%s' in '%s': %u", rows[i].word, rows[i].words, index);
	}
}

TEST(words, a_position_has_a_word)
{
	static const char *const words[] = { "low", "normal", "high", "", "" };
	char to[8];
	for (unsigned i = 0; i < ARRAY_COUNT(words); i++)
		assert_string_equal(words_at("low|normal|high", i, to, sizeof(to)), words[i]);
	assert_string_equal(words_at("low|normal|high", ~0u, to, sizeof(to)), "");
	assert_string_equal(words_at("", 0, to, sizeof(to)), "");
	assert_string_equal(words_at("low|normal|high", 1, to, 4), "nor");
	assert_string_equal(words_at("low|normal|high", 1, to, 1), "");
}

TEST(words, people_read_a_list)
{
	char to[32];
	assert_string_equal(words_list("low|normal|high", to, sizeof(to)), "low, normal or high");
	assert_string_equal(words_list("no|yes", to, sizeof(to)), "no or yes");
	assert_string_equal(words_list("all", to, sizeof(to)), "all");
	assert_string_equal(words_list("", to, sizeof(to)), "");
}

/* In memory of exactly its size: what does not fit is cut, never written. */
TEST(words, a_list_is_cut_to_its_room)
{
	static const char whole[] = "low, normal or high";
	for (size_t size = 1; size < sizeof(whole) + 3; size++) {
		char *to = malloc(size);
		words_list("low|normal|high", to, size);
		EXPECT(strlen(to) == (size < sizeof(whole) ? size : sizeof(whole)) - 1);
		EXPECT(strncmp(to, whole, strlen(to)) == 0);
		free(to);
	}
}

/* --- reasons ---------------------------------------------------------------------------------------- */

TEST(error_text, a_refusal_has_a_reason_and_a_status)
{
	struct error_text error;
	EXPECT(refuse(&error, Q_RANGE, "%s = %u: at most %u", "vcpus", 33u, 32u) == Q_RANGE);
	assert_string_equal(error.text, "vcpus = 33: at most 32");
	EXPECT(refuse(&error, Q_INVALID, "%s", "") == Q_INVALID);
	assert_string_equal(error.text, "");
}

TEST(error_text, a_long_reason_is_cut)
{
	struct {
		struct error_text error;
		char behind;
	} at = { .behind = 'x' };
	char text[ERROR_TEXT_BYTES + 10];
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	EXPECT(refuse(&at.error, Q_LIMIT, "%s", text) == Q_LIMIT);
	EXPECT(strlen(at.error.text) == ERROR_TEXT_BYTES - 1 && at.behind == 'x');
	text[ERROR_TEXT_BYTES - 1] = 0;
	EXPECT(refuse(&at.error, Q_LIMIT, "%s", text) == Q_LIMIT);
	assert_string_equal(at.error.text, text);
}

/* --- exits --------------------------------------------------------------------------------------------- */

TEST(vmexit, each_kind_has_a_name_of_its_own)
{
	for (unsigned a = 0; a < VMEXIT_KIND_COUNT; a++) {
		const char *name = vmexit_kind_name((enum vmexit_kind)a);
		/* `exits` has 22 columns for it, and JSON uses it as a key. */
		EXPECT(strlen(name) >= 3 && strlen(name) < 20);
		EXPECT(strspn(name, "abcdefghijklmnopqrstuvwxyz-") == strlen(name));
		for (unsigned b = 0; b < a; b++)
			EXPECT(strcmp(name, vmexit_kind_name((enum vmexit_kind)b)) != 0);
	}
	assert_string_equal(vmexit_kind_name(VMEXIT_HOST_INTERRUPT), "host-interrupt");
	assert_string_equal(vmexit_kind_name(VMEXIT_FATAL), "fatal");
}
