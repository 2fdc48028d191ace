/* SPDX-License-Identifier: MIT */
/*
 * lib/ against libc as the oracle. The kernel's memcpy() and the like are compiled
 * in under other names, because this program also has libc's.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

#define memcpy  kernel_memcpy
#define memmove kernel_memmove
#define memset  kernel_memset
#define memcmp  kernel_memcmp
#define strlen  kernel_strlen
#define strcmp  kernel_strcmp
#define strncmp kernel_strncmp
#define strchr  kernel_strchr
#define strrchr kernel_strrchr
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr

#include "lib/format.h"
#include "lib/number.h"

/* --- memory ------------------------------------------------------------------------- */

#define AREA 96u

static void area_fill(uint8_t *area)
{
	for (unsigned i = 0; i < AREA; i++)
		area[i] = (uint8_t)(i * 7 + 1);
}

/* Every distance, overlap and length that a word loop could get wrong. */
TEST(lib, memory_moves_as_libc_moves_it)
{
	uint8_t got[AREA], want[AREA];
	for (unsigned from = 0; from < 24; from++)
		for (unsigned to = 0; to < 48; to++)
			for (unsigned size = 0; size < 40; size++) {
				area_fill(got);
				area_fill(want);
				memmove(want + to, want + from, size);
				EXPECT(kernel_memmove(got + to, got + from, size) == got + to);
				EXPECT(memcmp(got, want, AREA) == 0);
			}
}

TEST(lib, memory_is_copied_and_filled_exactly)
{
	uint8_t got[AREA], want[AREA], source[AREA];
	area_fill(source);
	for (unsigned to = 0; to < 9; to++)
		for (unsigned size = 0; size < 70; size++) {
			memset(got, 0xa5, AREA);
			memset(want, 0xa5, AREA);
			memcpy(want + to, source + 3, size);
			EXPECT(kernel_memcpy(got + to, source + 3, size) == got + to);
			EXPECT(memcmp(got, want, AREA) == 0);
			memset(want + to, 0x1c3, size);
			EXPECT(kernel_memset(got + to, 0x1c3, size) == got + to);
			EXPECT(memcmp(got, want, AREA) == 0);
		}
}

static int sign(int value)
{
	return (value > 0) - (value < 0);
}

TEST(lib, memory_compares_bytes_unsigned_and_in_order)
{
	for (unsigned size = 1; size < 40; size++) {
		/* Exactly as large as the comparison, so that ASan notices a read beyond. */
		uint8_t *a = malloc(size), *b = malloc(size);
		assert_non_null(a);
		assert_non_null(b);
		for (unsigned at = 0; at <= size; at++) {
			memset(a, 0x11, size);
			memset(b, 0x11, size);
			if (at < size)
				b[at] ^= 0x80;
			if (at + 1 < size)
				b[at + 1] ^= 0x01;
			EXPECT(sign(kernel_memcmp(a, b, size)) == sign(memcmp(a, b, size)));
			EXPECT(sign(kernel_memcmp(b, a, size)) == sign(memcmp(b, a, size)));
		}
		free(a);
		free(b);
	}
}

TEST(lib, strings_are_as_in_libc)
{
	static const char *const texts[] = { "", "a", "ab", "abc", "abd", "b", "\xff", "a.b.c" };
	for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
		const char *a = texts[i];
		EXPECT(kernel_strlen(a) == strlen(a));
		EXPECT(kernel_strchr(a, 'b') == strchr(a, 'b'));
		EXPECT(kernel_strchr(a, 0) == strchr(a, 0));
		EXPECT(kernel_strrchr(a, '.') == strrchr(a, '.'));
		EXPECT(kernel_strrchr(a, 0) == strrchr(a, 0));
		for (size_t k = 0; k < ARRAY_COUNT(texts); k++) {
			const char *b = texts[k];
			EXPECT(sign(kernel_strcmp(a, b)) == sign(strcmp(a, b)));
			for (size_t n = 0; n < 5; n++)
				EXPECT(sign(kernel_strncmp(a, b, n)) == sign(strncmp(a, b, n)));
		}
	}
}

TEST(lib, string_copy_terminates_and_tells_what_did_not_fit)
{
	char to[4] = "xyz";
	EXPECT(string_copy(to, sizeof(to), "abc") && strcmp(to, "abc") == 0);
	EXPECT(!string_copy(to, sizeof(to), "abcd") && strcmp(to, "abc") == 0);
	EXPECT(string_copy(to, sizeof(to), "") && to[0] == 0);
	EXPECT(!string_copy(to, 0, ""));
}

/* --- formatting --------------------------------------------------------------------- */

/* Expects libc's text and length in a buffer of every size. */
#define SAME(...)                                                                                \
	do {                                                                                     \
		char want[128];                                                                  \
		int length = snprintf(want, sizeof(want), __VA_ARGS__);                          \
		for (size_t size = 0; size < sizeof(want); size++) {                             \
			char got[128], cut[128];                                                 \
			memset(got, '~', sizeof(got));                                           \
			memset(cut, '~', sizeof(cut));                                           \
			if (size) {                                                              \
				size_t kept = (size_t)length < size ? (size_t)length : size - 1; \
				memcpy(cut, want, kept);                                         \
				cut[kept] = 0;                                                   \
			}                                                                        \
			assert_int_equal(format_text(got, size, __VA_ARGS__), length);           \
			assert_memory_equal(got, cut, sizeof(got));                              \
		}                                                                                \
	} while (0)

TEST(lib, formats_as_libc_does)
{
	SAME("plain");
	SAME("%d %i %u", -1, 42, 42u);
	SAME("%d %d", INT_MIN, INT_MAX);
	SAME("%lld %llu %ld %zu", LLONG_MIN, ULLONG_MAX, LONG_MAX, SIZE_MAX);
	SAME("%hhd %hhu %hd %hu", (signed char)-3, (unsigned char)200, (short)-300,
	     (unsigned short)60000);
	SAME("%x %X %#x %#X %#x", 0xbeefu, 0xbeefu, 0xbeefu, 0xbeefu, 0u);
	SAME("%5d|%-5d|%05d|%05d", 42, 42, 42, -42);
	SAME("%#010x|%#10x|%-#10x|", 0xabcu, 0xabcu, 0xabcu);
	SAME("%.3d|%6.3d|%-6.3d|%.0d|%.0d", 7, 7, 7, 0, 1);
	SAME("%*d|%-*d|%*d|%.*d", 6, 42, 6, 42, -6, 42, 4, 42);
	SAME("%s|%8s|%-8s|%.2s|%8.2s|%.*s", "abc", "abc", "abc", "abc", "abc", 1, "abc");
	SAME("%c%5c%-3c|%%", 'a', 'b', 'c');
	SAME("%p", (void *)0x1234abcd);
	SAME("%016llx", 0x1234ull);
}

TEST(lib, format_survives_null_and_an_unterminated_string)
{
	char got[16];
	const char *volatile none = NULL;
	const char raw[3] = { 'a', 'b', 'c' };
	format_text(got, sizeof(got), "%s", none);
	EXPECT(strcmp(got, "(null)") == 0);
	format_text(got, sizeof(got), "%.3s", raw);
	EXPECT(strcmp(got, "abc") == 0);
}

/* --- numbers ------------------------------------------------------------------------ */

static void expect_number(const char *text, uint64_t max, q_status_t status, uint64_t value)
{
	uint64_t got = 77;
	if (number_parse(text, max, &got) != status || got != (status == Q_OK ? value : 77))
		fail_msg("number '%s'", text);
}

static void expect_size(const char *text, q_status_t status, uint64_t value)
{
	uint64_t got = 77;
	if (size_parse(text, &got) != status || got != (status == Q_OK ? value : 77))
		fail_msg("size '%s'", text);
}

TEST(lib, numbers_are_digits_and_nothing_else)
{
	expect_number("0", 0, Q_OK, 0);
	expect_number("007", 10, Q_OK, 7);
	expect_number("10", 10, Q_OK, 10);
	expect_number("11", 10, Q_RANGE, 0);
	expect_number("18446744073709551615", UINT64_MAX, Q_OK, UINT64_MAX);
	expect_number("18446744073709551616", UINT64_MAX, Q_RANGE, 0);
	expect_number("99999999999999999999999", UINT64_MAX, Q_RANGE, 0);
	expect_number("", 10, Q_INVALID, 0);
	expect_number("-1", 10, Q_INVALID, 0);
	expect_number("+1", 10, Q_INVALID, 0);
	expect_number(" 1", 10, Q_INVALID, 0);
	expect_number("1 ", 10, Q_INVALID, 0);
	expect_number("0x1", 10, Q_INVALID, 0);
	expect_number("99x", 10, Q_INVALID, 0);
}

TEST(lib, sizes_have_a_unit_of_1024)
{
	expect_size("4096", Q_OK, 4096);
	expect_size("4K", Q_OK, 4096);
	expect_size("640M", Q_OK, 640ull << 20);
	expect_size("16G", Q_OK, 16ull << 30);
	expect_size("17179869183G", Q_OK, 17179869183ull << 30);
	expect_size("17179869184G", Q_RANGE, 0);
	expect_size("K", Q_INVALID, 0);
	expect_size("4k", Q_INVALID, 0);
	expect_size("4KB", Q_INVALID, 0);
	expect_size("4.5M", Q_INVALID, 0);
	expect_size("", Q_INVALID, 0);
}

TEST(lib, every_status_has_words_of_its_own)
{
	for (int a = Q_OK; a <= Q_CANCELLED; a++)
		for (int b = Q_OK; b < a; b++)
			EXPECT(strcmp(q_status_text((q_status_t)a), q_status_text((q_status_t)b)));
	EXPECT(strcmp(q_status_text(Q_NO_MEMORY), "out of memory") == 0);
	EXPECT(strcmp(q_status_text((q_status_t)99), "unknown status") == 0);
}
