/* SPDX-License-Identifier: MIT */
/*
 * The tracking word, in the layout of this build, compared with numbers that were
 * worked out by hand from the drawings in gmm_word32.h and gmm_word64.h.
 */
#include "mm/gmm/gmm.h"
#include "mm/gmm/gmm_internal.h"

#include "gmm_machine.h"
#include "seam/seam.h"
#include "test.h"

struct golden {
	gmm_word_t word;
	uint32_t in_32_bits;
	uint64_t in_64_bits;
};

TEST(gmm_word, golden_words)
{
	const struct golden golden[] = {
		{ gmm_word_free(0, false), 0x00000000, 0xc000000000000000 },
		{ gmm_word_free(511, true), 0x000101ff, 0xe0000000000001ff },
		{ gmm_word_free(GMM_INDEX_NIL, false), 0x0000ffff, 0xc00000000000ffff },
		{ gmm_word_private(1, gfn(0)), 0x01000000, 0x0000000100000000 },
		{ gmm_word_private(0x12, gfn(0x345678)), 0x12345678, 0x0000001200345678 },
		{ gmm_word_private(255, gfn(0xfffffd)), 0xfffffffd, 0x000000ff00fffffd },
		{ gmm_word_private(7, GFN_UNKNOWN), 0x07ffffff, 0x00000007fffffff1 },
		{ gmm_word_kernel(GMM_VM_QUIRE, GMM_FIXED), 0x00800002, 0x4000000000000002 },
		{ gmm_word_kernel(255, GMM_SHADOW), 0xff800001, 0x400000ff00000001 },
		{ gmm_word_shared(1, 0), 0x80000001, 0x8000000000000001 },
		{ gmm_word_shared(0, 1), 0x90000000, 0x8000000100000000 },
		{ gmm_word_shared(0xfffffff, 7), 0xffffffff, 0x800000070fffffff },
	};

	for (unsigned i = 0; i < ARRAY_COUNT(golden); i++)
		EXPECT(golden[i].word ==
		       (GMM_WORD_BITS == 64 ? golden[i].in_64_bits : golden[i].in_32_bits));
}

/* Each field at its largest value, alone and with its neighbours at theirs. */
TEST(gmm_word, largest_values)
{
	EXPECT(GMM_VM_LAST == (GMM_WORD_BITS == 64 ? 1023 : 255));
	EXPECT(GMM_GFN_LAST == (GMM_WORD_BITS == 64 ? 0xfffffff0 : 0xfffffd));
	EXPECT(gmm_word_private(GMM_VM_LAST, gfn(GMM_GFN_LAST)) ==
	       (gmm_word_t)(GMM_WORD_BITS == 64 ? 0x000003fffffffff0 : 0xfffffffd));
	EXPECT(gmm_word_kernel(GMM_VM_LAST, GMM_FIXED) ==
	       (gmm_word_t)(GMM_WORD_BITS == 64 ? 0x400003ff00000002 : 0xff800002));
	EXPECT(gmm_word_shared(GMM_WORD_REFERENCE_MAX, 0) ==
	       (gmm_word_t)(GMM_WORD_BITS == 64 ? 0x80000000ffffffff : 0x8fffffff));
	EXPECT(gmm_word_shared(GMM_WORD_REFERENCE_MAX, GMM_WORD_HOLD_MAX) ==
	       (gmm_word_t)(GMM_WORD_BITS == 64 ? 0x8000ffffffffffff : 0xffffffff));
}

TEST(gmm_word, fields_come_back)
{
	const uint64_t frames[] = { 0, 1, 0x800000, GMM_GFN_LAST - 1, GMM_GFN_LAST };

	for (gmm_vm_t vm = 1; vm <= GMM_VM_LAST; vm++) {
		for (unsigned i = 0; i < ARRAY_COUNT(frames); i++) {
			gmm_word_t word = gmm_word_private(vm, gfn(frames[i]));
			EXPECT(gmm_word_owner(word) == vm);
			EXPECT(gmm_word_gfn(word).raw == frames[i]);
		}
		EXPECT(gmm_word_gfn(gmm_word_private(vm, GFN_UNKNOWN)).raw == GFN_UNKNOWN.raw);
		EXPECT(gmm_word_owner(gmm_word_kernel(vm, GMM_FIXED)) == vm);
		EXPECT(gmm_word_account(gmm_word_kernel(vm, GMM_FIXED)) == GMM_FIXED);
		EXPECT(gmm_word_account(gmm_word_kernel(vm, GMM_SHADOW)) == GMM_SHADOW);
	}
	gmm_word_t shared = gmm_word_shared(GMM_WORD_REFERENCE_MAX, 5);
	EXPECT(gmm_word_references(shared) == GMM_WORD_REFERENCE_MAX);
	EXPECT(gmm_word_holds(shared) == 5);
	shared = gmm_word_shared(3, GMM_WORD_HOLD_MAX);
	EXPECT(gmm_word_references(shared) == 3 && gmm_word_holds(shared) == GMM_WORD_HOLD_MAX);
	EXPECT(gmm_word_next(gmm_word_free(GMM_INDEX_NIL, true)) == GMM_INDEX_NIL);
	EXPECT(gmm_word_next(gmm_word_free(P - 1, false)) == P - 1);
	EXPECT(gmm_word_is_zeroed(gmm_word_free(GMM_INDEX_NIL, true)));
	EXPECT(!gmm_word_is_zeroed(gmm_word_free(GMM_INDEX_NIL, false)));
}

/* The word alone tells whether a page is free, whatever the kind of its chunk. */
TEST(gmm_word, free_words_differ_from_all_used_ones)
{
	EXPECT(gmm_word_is_free(gmm_word_free(GMM_INDEX_NIL, true)));
	EXPECT(gmm_word_is_free(gmm_word_free(0, false)));
	for (gmm_vm_t vm = 0; vm <= GMM_VM_LAST; vm++) {
		EXPECT(vm == 0 || !gmm_word_is_free(gmm_word_private(vm, gfn(0))));
		EXPECT(vm == 0 || !gmm_word_is_free(gmm_word_private(vm, GFN_UNKNOWN)));
		EXPECT(!gmm_word_is_free(gmm_word_kernel(vm, GMM_SHADOW)));
		EXPECT(!gmm_word_is_free(gmm_word_kernel(vm, GMM_FIXED)));
	}
	EXPECT(!gmm_word_is_free(gmm_word_shared(1, 0)));
	EXPECT(!gmm_word_is_free(gmm_word_shared(0, 1)));
	EXPECT(!gmm_word_is_free(gmm_word_shared(GMM_WORD_REFERENCE_MAX, GMM_WORD_HOLD_MAX)));
}

/* The last guest frame is recorded, the next one and everything beyond is refused. */
TEST(gmm_word, guest_frames_end_where_the_word_does)
{
	struct gmm_page_info info;

	set_up(1);
	gmm_vm_t vm = create(P, 0, 0);
	page_id_t id = alloc_one(vm).id;
	const uint64_t beyond[] = { GMM_GFN_LAST + 1ull, GMM_WORD_GFN_UNKNOWN, BIT64(24) << 8,
				    BIT64(32), ~0ull - 1 };
	EXPECT(gmm_page_set_gfn(vm, id, gfn(GMM_GFN_LAST)) == Q_OK);
	for (unsigned i = 0; i < ARRAY_COUNT(beyond); i++)
		EXPECT(gmm_page_set_gfn(vm, id, gfn(beyond[i])) == Q_RANGE);
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GMM_GFN_LAST);
	EXPECT(gmm_page_set_gfn(vm, id, GFN_UNKNOWN) == Q_OK);
	EXPECT(gmm_page_info(id, &info) == Q_OK && info.gfn.raw == GFN_UNKNOWN.raw);
}

/* What tracking costs: the word and a small record a chunk. */
TEST(gmm_word, cost_per_page)
{
	EXPECT(sizeof(gmm_word_t) * 8 == GMM_WORD_BITS);
	EXPECT(sizeof(struct gmm_chunk) - P * sizeof(gmm_word_t) <= 128);
}
