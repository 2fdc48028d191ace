/* SPDX-License-Identifier: MIT */
/*
 * The rules of <quire/x86_state.h>, each over all values that make a difference.
 * What is valid is listed here as the manuals list it, not computed as in the header.
 */
#include "test.h"

#include <quire/x86_state.h>

TEST(x86_state, canonical_addresses_end_at_half_of_the_translated_range)
{
	EXPECT(x86_is_canonical(0, 48));
	EXPECT(x86_is_canonical(0x00007fffffffffff, 48));
	EXPECT(!x86_is_canonical(0x0000800000000000, 48));
	EXPECT(!x86_is_canonical(0x8000000000000000, 48));
	EXPECT(!x86_is_canonical(0xffff7fffffffffff, 48));
	EXPECT(x86_is_canonical(0xffff800000000000, 48));
	EXPECT(x86_is_canonical(0xffffffffffffffff, 48));

	EXPECT(x86_is_canonical(0x00ffffffffffffff, 57));
	EXPECT(!x86_is_canonical(0x0100000000000000, 57));
	EXPECT(!x86_is_canonical(0xfeffffffffffffff, 57));
	EXPECT(x86_is_canonical(0xff00000000000000, 57));
}

TEST(x86_state, guests_have_48_bits_of_linear_address)
{
	EXPECT(GUEST_LINEAR_BITS == 48 && LINEAR_BITS_4_LEVEL == 48 && LINEAR_BITS_5_LEVEL == 57);
}

TEST(x86_state, only_write_through_off_without_caching_off_is_refused)
{
	EXPECT(x86_cr0_caching_is_valid(0x00000011));
	EXPECT(x86_cr0_caching_is_valid(0x40000011));
	EXPECT(x86_cr0_caching_is_valid(0x60000011));
	EXPECT(!x86_cr0_caching_is_valid(0x20000011));
}

/* Bits of the manual's figure "EFLAGS Register" that have a name; bit 1 is always 1. */
TEST(x86_state, reserved_flags_are_those_without_a_name)
{
	static const unsigned named[] = { 0,  1,  2,  4,  6,  7,  8,  9,  10, 11,
					  12, 13, 14, 16, 17, 18, 19, 20, 21 };
	uint64_t all = 0;
	for (size_t i = 0; i < ARRAY_COUNT(named); i++)
		all |= 1ull << named[i];
	assert_int_equal(RFLAGS_RESERVED, ~all);
}

static bool is_listed(const uint64_t *list, size_t count, uint64_t value)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == value)
			return true;
	return false;
}

TEST(x86_state, xcr0_takes_whole_extensions_on_top_of_each_other)
{
	static const uint64_t valid[] = { 0x001, 0x003, 0x007, 0x0e7, 0x201, 0x203, 0x207, 0x2e7 };
	for (uint64_t xcr0 = 0; xcr0 < 0x400; xcr0++) {
		bool is_possible = is_listed(valid, ARRAY_COUNT(valid), xcr0);
		EXPECT(x86_xcr0_is_valid(xcr0, 0x2e7) == is_possible);
		EXPECT(x86_xcr0_is_valid(xcr0, 0x007) == (is_possible && xcr0 < 8));
	}
	EXPECT(!x86_xcr0_is_valid(0x001, 0));
	EXPECT(!x86_xcr0_is_valid(0x8000000000000007, 0x2e7));
}

TEST(x86_state, each_byte_of_the_pat_is_a_memory_type)
{
	static const uint64_t types[] = { 0, 1, 4, 5, 6, 7 };
	for (unsigned shift = 0; shift < 64; shift += 8) {
		for (uint64_t byte = 0; byte < 256; byte++) {
			uint64_t others = 0x0706050401000706 & ~(0xffull << shift);
			bool is_type = is_listed(types, ARRAY_COUNT(types), byte);
			EXPECT(x86_pat_is_valid(others | byte << shift) == is_type);
			EXPECT(x86_pat_is_valid(byte << shift) == is_type);
		}
	}
}

/* Intel SDM vol. 3, "Processor State After Reset", the table of power-up, reset and INIT. */
TEST(x86_state, reset_is_the_manuals)
{
	const struct guest_state *reset = &x86_reset_state;
	assert_int_equal(RESET_RIP, 0xfff0);
	assert_int_equal(reset->cr0, 0x60000010);
	EXPECT(reset->cr2 == 0 && reset->cr3 == 0 && reset->cr4 == 0 && reset->efer == 0);
	assert_int_equal(reset->dr6, 0xffff0ff0);
	assert_int_equal(reset->dr7, 0x400);
	assert_int_equal(reset->pat, 0x0007040600070406);
	EXPECT(x86_pat_is_valid(reset->pat) && x86_cr0_caching_is_valid(reset->cr0));
	EXPECT(reset->gdtr.base == 0 && reset->gdtr.limit == 0xffff);
	EXPECT(reset->idtr.base == 0 && reset->idtr.limit == 0xffff);
	EXPECT(reset->cpl == 0 && !reset->interrupt_shadow && !reset->nmi_blocked);
}

TEST(x86_state, segments_after_reset_are_real_modes)
{
	static const uint32_t attributes[SEG_COUNT] = {
		[SEG_ES] = 0x93, [SEG_CS] = 0x9b, [SEG_SS] = 0x93,   [SEG_DS] = 0x93,
		[SEG_FS] = 0x93, [SEG_GS] = 0x93, [SEG_LDTR] = 0x82, [SEG_TR] = 0x8b,
	};
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		const struct guest_segment *segment = &x86_reset_state.segment[i];
		assert_int_equal(segment->attributes, attributes[i]);
		assert_int_equal(segment->limit, 0xffff);
		assert_int_equal(segment->selector, i == SEG_CS ? 0xf000 : 0);
		assert_int_equal(segment->base, i == SEG_CS ? 0xffff0000 : 0);
	}
}

/* Intel SDM vol. 3, table "Protected-Mode Exceptions and Interrupts". */
TEST(x86_state, exceptions_with_an_error_code)
{
	for (unsigned vector = 0; vector < 32; vector++) {
		bool pushes = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
		EXPECT((ERROR_CODE_VECTORS >> vector & 1) == pushes);
	}
}
