/* SPDX-License-Identifier: MIT */
/* The rules for a VMCB: a test breaks one of them at a time, and only that one is noticed. */
#include "svm_model.h"

static void valid_vmcb(void)
{
	set_up();
	cpu_set_up();
	struct guest_state guest = long_mode_state();
	EXPECT(svm_state_set(&vcpu, &guest) == Q_OK);
	vmcb_set_intercept_2(&vmcb, INTERCEPT_VMRUN);
	vmcb_set_asid(&vmcb, 1);
	vmcb_set_iopm_base(&vmcb, 0x200000);
	vmcb_set_msrpm_base(&vmcb, 0x204000);
	vmcb_set_nested_cr3(&vmcb, 0x300000);
}

static uint64_t violated(void)
{
	return svm_check_control(&vmcb.control, &svm_features) |
	       svm_check_save(&vmcb.save, &svm_features);
}

/* Writes one value into a valid VMCB. That must break this rule and no other. */
#define EXPECT_RULE(rule, offset, value, size_bytes)          \
	do {                                                  \
		valid_vmcb();                                 \
		EXPECT(violated() == 0);                      \
		poke((offset), (value), (size_bytes));        \
		EXPECT(violated() == BIT64(SVM_RULE_##rule)); \
	} while (0)

TEST(svm, each_rule_of_the_control_area_is_noticed)
{
	EXPECT_RULE(VMRUN_INTERCEPT, 0x010, 0xfffe, 4);
	EXPECT_RULE(ASID, 0x058, 0, 4);
	EXPECT_RULE(ASID, 0x058, 16, 4);
	EXPECT_RULE(PERMISSION_MAPS, 0x040, 0x10000000000 - 0x2000, 8);
	EXPECT_RULE(PERMISSION_MAPS, 0x048, 0x10000000000 - 0x1000, 8);
	EXPECT_RULE(PERMISSION_MAPS, 0x048, 0xfffffffffffff000, 8);
	EXPECT_RULE(NESTED_CR3, 0x0b0, 0x10000000000, 8);
	EXPECT_RULE(NESTED_CR3, 0x0b0, 0x300018, 8);
	EXPECT_RULE(EVENT_TYPE, 0x0a8, 0x80000120, 8);
	EXPECT_RULE(EVENT_TYPE, 0x0a8, 0x80000720, 8);
	EXPECT_RULE(EVENT_VECTOR, 0x0a8, 0x80000302, 8);
	EXPECT_RULE(EVENT_VECTOR, 0x0a8, 0x80000320, 8);
	EXPECT_RULE(EVENT_RESERVED, 0x0a8, 0x80001020, 8);
}

TEST(svm, each_rule_of_the_save_area_is_noticed)
{
	EXPECT_RULE(EFER_SVME, 0x4d0, 0x0d01, 8);
	EXPECT_RULE(EFER_RESERVED, 0x4d0, 0x1d03, 8);
	EXPECT_RULE(EFER_RESERVED, 0x4d0, 0x5d01, 8); /* FFXSR, which this CPU lacks */
	EXPECT_RULE(EFER_LMA, 0x4d0, 0x1901, 8);
	EXPECT_RULE(EFER_LMA, 0x558, 0x00050033, 8);
	EXPECT_RULE(CR0_CACHE, 0x558, 0xa0050033, 8);
	EXPECT_RULE(CR0_HIGH, 0x558, 0x180050033, 8);
	EXPECT_RULE(CR3_RESERVED, 0x550, 0x00100000001aa000, 8);
	EXPECT_RULE(CR4_RESERVED, 0x548, 0x20a0, 8); /* VMXE */
	EXPECT_RULE(CR4_RESERVED, 0x548, 0x10a0, 8); /* LA57, which this CPU lacks */
	EXPECT_RULE(DR6_HIGH, 0x568, 0x1ffff0ff0, 8);
	EXPECT_RULE(DR7_HIGH, 0x560, 0x100000400, 8);
	EXPECT_RULE(LONG_MODE_PAE, 0x548, 0x80, 8);
	EXPECT_RULE(LONG_MODE_PE, 0x558, 0x80050032, 8);
	EXPECT_RULE(LONG_MODE_CS, 0x412, 0xe9b, 2);
	EXPECT_RULE(PAT, 0x668, 0x0407050600070206, 8);
	EXPECT_RULE(PAT, 0x668, 0x0807050600070106, 8);
	EXPECT_RULE(CPL, 0x4cb, 4, 1);
	EXPECT_RULE(CANONICAL, 0x458, 0x0000800000000000, 8);
	EXPECT_RULE(CANONICAL, 0x608, 0xffff7fffffffffff, 8);
	EXPECT_RULE(CANONICAL, 0x620, 0x8000000000000000, 8);
	EXPECT_RULE(CANONICAL, 0x638, 0x0001000000000000, 8);
}

TEST(svm, valid_corner_cases_pass)
{
	valid_vmcb();
	poke(0x040, 0x10000000000 - 0x3000, 8); /* the last place for the port map */
	poke(0x048, 0x10000000000 - 0x2000, 8);
	poke(0x058, 15, 4);
	poke(0x0a8, 0x80000202, 8);
	poke(0x458, 0x00007fffffffffff, 8);
	poke(0x608, 0xffff800000000000, 8);
	EXPECT(violated() == 0);
	poke(0x0a8, 0x12345, 8); /* no event: nothing to check */
	EXPECT(violated() == 0);
}
