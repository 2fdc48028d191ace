/* SPDX-License-Identifier: MIT */
/* Capability MSRs to struct vmx_features, and the reasons not to run guests. */
#include "vmx_model.h"

#include <string.h>

static const char *reason_of(const struct vmx_words *words)
{
	struct vmx_features features;
	const char *reason = vmx_features_decode(words, &features);
	if (!reason)
		return "";
	/* The operator reads nothing but this, so it is one line and one sentence. */
	EXPECT(!strchr(reason, '\n') && reason[strlen(reason) - 1] == '.');
	return reason;
}

TEST(vmx, control_takes_required_and_forced_bits_and_optional_ones_that_exist)
{
	uint32_t control = 0;
	EXPECT(vmx_control_adjust(0x0000007f00000016, 0x29, 0x40, 0, &control));
	EXPECT(control == 0x7f);
	EXPECT(vmx_control_adjust(0x0000003f00000016, 0x29, 0x40, 0, &control));
	EXPECT(control == 0x3f);
}

TEST(vmx, control_is_impossible_without_a_required_or_with_a_refused_bit)
{
	uint32_t control = 0xdead;
	EXPECT(!vmx_control_adjust(0x0000003f00000016, 0x40, 0, 0, &control));
	EXPECT(!vmx_control_adjust(0x0000003f00000016, 0x01, 0, 0x10, &control));
	/* A bit that must be 1 and may not be 1. */
	EXPECT(!vmx_control_adjust(0x0000003f00000056, 0x01, 0, 0, &control));
	EXPECT(control == 0xdead);
}

TEST(vmx, controls_of_a_whole_cpu)
{
	struct vmx_features features = decode_features(&skylake);
	EXPECT(features.revision == 0x2b);
	EXPECT(features.pin == (0x16 | BIT32(0) | BIT32(3) | BIT32(5) | BIT32(6)));
	EXPECT(features.primary == (0x04006172 | BIT32(3) | BIT32(7) | BIT32(10) | BIT32(11) |
				    BIT32(21) | BIT32(24) | BIT32(28) | BIT32(29) | BIT32(31)));
	EXPECT(features.secondary == (BIT32(1) | BIT32(5) | BIT32(6) | BIT32(7) | BIT32(12)));
	EXPECT(features.exit == (0x36dfb | BIT32(2) | BIT32(9) | 0x3c0000));
	EXPECT(features.entry == (0x11fb | BIT32(2) | BIT32(14) | BIT32(15)));
	EXPECT(features.has_vpid && features.has_preemption_timer);
	EXPECT(features.has_ept_accessed_dirty && features.preemption_timer_shift == 0);
	EXPECT(features.invept == INVEPT_SINGLE && features.invvpid == INVVPID_SINGLE);
	EXPECT(features.cr0_fixed == BIT64(5));
	EXPECT(features.cr0_owned == (BIT64(5) | BIT64(29) | BIT64(30)));
	EXPECT(features.cr4_fixed == BIT64(13));
	EXPECT(features.cr4_owned & BIT64(13) && !(features.cr4_allowed & BIT64(13)));
	EXPECT(features.cr4_allowed & BIT64(18) && features.cr4_owned & BIT64(14));
	EXPECT(features.physical_address_bits == 40 && features.linear_address_bits == 48);
}

/* corei5_arrandale_m520 has no VPIDs and no timer, and runs guests all the same. */
TEST(vmx, optional_features_may_be_missing)
{
	struct vmx_words words = skylake;
	words.pin &= ~(0x40ull << 32);
	words.secondary &= ~(0x1020ull << 32);
	words.ept_vpid = 0x0106114141 & ~BIT64(25);
	struct vmx_features features = decode_features(&words);
	EXPECT(!features.has_preemption_timer && !features.has_vpid);
	EXPECT(!features.has_ept_accessed_dirty);
	EXPECT(features.invept == INVEPT_ALL && features.invvpid == INVVPID_NONE);
}

TEST(vmx, refusals_say_why)
{
	struct vmx_words words = skylake;
	words.leaf_1_ecx &= ~BIT32(5);
	EXPECT(strstr(reason_of(&words), "no VT-x"));

	words = skylake;
	words.feature_control = 1; /* locked */
	EXPECT(strstr(reason_of(&words), "firmware disabled"));
	words.feature_control = 3; /* locked, and on inside of SMX only */
	EXPECT(strstr(reason_of(&words), "firmware disabled"));
	words.feature_control = 0;
	EXPECT(strcmp(reason_of(&words), "") == 0);

	/* core2_penryn_t9600: secondary controls, but no EPT and no word for it. */
	words = skylake;
	words.secondary = 0x4100000000;
	words.ept_vpid = 0;
	EXPECT(strstr(reason_of(&words), "without nested paging"));
	words.primary &= ~(1ull << 63);
	words.secondary = 0;
	EXPECT(strstr(reason_of(&words), "without nested paging"));

	/* corei5_lynnfield_750 */
	words = skylake;
	words.secondary &= ~(0x80ull << 32);
	EXPECT(strstr(reason_of(&words), "without unrestricted guest"));
}

/* Four levels, write-back, 2 MiB pages, INVEPT, INVEPT for all contexts. */
TEST(vmx, nested_paging_without_what_quire_uses_is_refused)
{
	static const unsigned needed[] = { 6, 14, 16, 20, 26 };
	for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
		struct vmx_words words = skylake;
		words.ept_vpid &= ~BIT64(needed[i]);
		if (!strstr(reason_of(&words), "lacks what Quire needs"))
			fail_msg("without bit %u: '%s'", needed[i], reason_of(&words));
	}
}

/* Bit numbers are from the manual's tables of VM-execution, VM-exit and VM-entry controls. */
TEST(vmx, a_control_that_is_missing_or_stuck_is_refused)
{
	static const struct {
		size_t offset;
		uint32_t needed, unwanted;
	} controls[] = {
		{ offsetof(struct vmx_words, pin), BIT32(0) | BIT32(3) | BIT32(5), 0 },
		/* A CPU without TRUE controls cannot turn off CR3 exits, bits 15 and 16. */
		{ offsetof(struct vmx_words, primary),
		  BIT32(2) | BIT32(3) | BIT32(7) | BIT32(10) | BIT32(11) | BIT32(21) | BIT32(24) |
			  BIT32(28) | BIT32(29),
		  BIT32(2) | BIT32(9) | BIT32(12) | BIT32(15) | BIT32(16) | BIT32(19) | BIT32(20) |
			  BIT32(23) },
		{ offsetof(struct vmx_words, secondary), BIT32(6), 0 },
		{ offsetof(struct vmx_words, exit),
		  BIT32(2) | BIT32(9) | BIT32(18) | BIT32(19) | BIT32(20) | BIT32(21),
		  BIT32(15) | BIT32(22) },
		{ offsetof(struct vmx_words, entry), BIT32(2) | BIT32(9) | BIT32(14) | BIT32(15),
		  BIT32(9) | BIT32(10) | BIT32(11) },
	};
	for (size_t i = 0; i < ARRAY_COUNT(controls); i++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			struct vmx_words words = skylake;
			uint64_t *word = (void *)((uint8_t *)&words + controls[i].offset);
			uint64_t real = *word;
			*word = real & ~(BIT64(bit) << 32) & ~BIT64(bit);
			if ((controls[i].needed & BIT32(bit)) &&
			    !strstr(reason_of(&words), "lacks controls"))
				fail_msg("group %zu without %u: '%s'", i, bit, reason_of(&words));
			*word = real | BIT64(bit) << 32 | BIT64(bit);
			if ((controls[i].unwanted & BIT32(bit)) &&
			    !strstr(reason_of(&words), "lacks controls"))
				fail_msg("group %zu, %u stuck: '%s'", i, bit, reason_of(&words));
		}
	}
}

TEST(vmx, contradictions_among_capabilities_are_noticed)
{
	static const struct {
		size_t offset;
		uint64_t change;
	} contradictions[] = {
		{ offsetof(struct vmx_words, basic), 0x1000ull << 32 }, /* size 0 */
		{ offsetof(struct vmx_words, basic), BIT64(44) >> 1 },  /* size above a page */
		{ offsetof(struct vmx_words, basic), BIT64(48) },       /* 32-bit addresses */
		{ offsetof(struct vmx_words, basic), BIT64(50) },       /* memory type */
		{ offsetof(struct vmx_words, pin), BIT64(33) },
		{ offsetof(struct vmx_words, primary), BIT64(0) },
		{ offsetof(struct vmx_words, secondary), BIT64(15) },
		{ offsetof(struct vmx_words, exit), BIT64(32) },
		{ offsetof(struct vmx_words, entry), BIT64(16) },
		{ offsetof(struct vmx_words, cr0_fixed1), BIT64(5) },
		{ offsetof(struct vmx_words, cr4_fixed1), BIT64(13) },
	};
	for (size_t i = 0; i < ARRAY_COUNT(contradictions); i++) {
		struct vmx_words words = skylake;
		uint64_t *word = (void *)((uint8_t *)&words + contradictions[i].offset);
		*word ^= contradictions[i].change;
		if (!strstr(reason_of(&words), "contradict"))
			fail_msg("contradiction %zu: %s", i, reason_of(&words));
	}
}
