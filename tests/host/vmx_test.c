/* SPDX-License-Identifier: MIT */
/* The small parts of the VT-x backend: permission map, VPIDs, control registers. */
#include "vmx_model.h"

/* --- permission map ------------------------------------------------------------------------ */

static bool passes(uint32_t msr, bool is_write)
{
	unsigned offset = (msr >= 0xc0000000 ? 0x400 : 0) + (is_write ? 0x800 : 0);
	return !(vmx_msr_bitmap[offset + (msr & 0x1fff) / 8] & (1 << msr % 8));
}

TEST(vmx, only_registers_of_its_own_pass_without_an_exit)
{
	static const uint32_t passing[] = { 0x174,      0x175,      0x176,      0x277,
					    0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					    0xc0000100, 0xc0000101, 0xc0000102 };
	vmx_permissions_init();
	for (unsigned i = 0; i < 2 * 0x2000; i++) {
		uint32_t msr = i < 0x2000 ? i : 0xc0000000 + i - 0x2000;
		bool is_listed = false;
		for (size_t j = 0; j < ARRAY_COUNT(passing); j++)
			is_listed |= passing[j] == msr;
		EXPECT(passes(msr, false) == is_listed);
		EXPECT(passes(msr, true) == is_listed);
	}
}

/* --- VPIDs ---------------------------------------------------------------------------------- */

TEST(vmx, vpids_are_unique_until_the_cpu_forgets_all)
{
	struct vmx_cpu cpu = { 0 };
	struct virt_vcpu a = { 0 }, b = { 0 };
	vmx_vpid_cpu_init(&cpu, 3);
	EXPECT(vmx_vpid_assign(&a, &cpu));
	EXPECT(a.vpid == 1 && a.vpid_stamp == cpu.vpid_stamp && (a.vpid_stamp & 0xff) == 3);
	EXPECT(!vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 2);

	cpu.vpid_next = 0xffff;
	EXPECT(!vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 0xffff && a.vpid_stamp == cpu.vpid_stamp);
	EXPECT(vmx_vpid_assign(&b, &cpu));
	EXPECT(b.vpid == 1 && a.vpid_stamp != cpu.vpid_stamp);
}

TEST(vmx, a_cpu_that_was_off_trusts_no_old_vpid)
{
	struct vmx_cpu cpu = { 0 };
	struct virt_vcpu vcpu = { 0 };
	vmx_vpid_cpu_init(&cpu, 0);
	(void)vmx_vpid_assign(&vcpu, &cpu);
	vmx_vpid_cpu_init(&cpu, 0);
	EXPECT(vmx_vpid_assign(&(struct virt_vcpu){ 0 }, &cpu));
	EXPECT(vcpu.vpid_stamp != cpu.vpid_stamp);
}

/* --- control registers ------------------------------------------------------------------------ */

TEST(vmx, control_register_writes_the_guest_may_not_do)
{
	struct vmx_features features = decode_features(&skylake);
	EXPECT(vmx_cr_value_is_legal(0, 0x80050033, &features));
	EXPECT(vmx_cr_value_is_legal(0, 0x60000010, &features));
	EXPECT(vmx_cr_value_is_legal(0, 0xc0050033, &features));  /* CD alone */
	EXPECT(!vmx_cr_value_is_legal(0, 0xa0050033, &features)); /* NW alone */
	EXPECT(!vmx_cr_value_is_legal(0, 0x80000010, &features)); /* PG without PE */
	EXPECT(!vmx_cr_value_is_legal(0, 0x180050033, &features));
	EXPECT(vmx_cr_value_is_legal(4, 0x3006f0, &features));
	EXPECT(!vmx_cr_value_is_legal(4, 0x26f0, &features)); /* VMXE */
	EXPECT(!vmx_cr_value_is_legal(4, 0x46f0, &features)); /* SMXE */
}
