/* SPDX-License-Identifier: MIT */
#include "vmx_model.h"

#include <string.h>

const struct vmx_words skylake = {
	.feature_control = 0x5,
	.basic = 0x00d8100000000000 | 0x2b,
	.misc = 0x600401e0,
	.ept_vpid = 0xf0106334141,
	.pin = 0x0000007f00000016,
	.primary = 0xf7f9fffe04006172,
	.secondary = 0x021f7fff00000000,
	.exit = 0x007fffff00036dfb,
	.entry = 0x0000ffff000011fb,
	.cr0_fixed0 = 0x80000021,
	.cr0_fixed1 = 0xffffffff,
	.cr4_fixed0 = 0x2000,
	.cr4_fixed1 = 0x3767ff,
	.leaf_1_ecx = BIT32(5) | BIT32(17) | BIT32(26),
	.leaf_7_ebx = BIT32(0) | BIT32(7) | BIT32(20),
	.leaf_80000001_edx = BIT32(11) | BIT32(20) | BIT32(29),
	.leaf_80000008_eax = 0x3028,
};

struct vmx_features decode_features(const struct vmx_words *words)
{
	struct vmx_features features;
	assert_null(vmx_features_decode(words, &features));
	return features;
}

/* --- a VMCS in plain memory ----------------------------------------------------------- */

struct fake_vmcs fake;

void vmx_vmcs_load(struct virt_vcpu *vcpu)
{
	(void)vcpu;
}

void vmx_guest_read(struct virt_vcpu *vcpu, struct vmx_guest *out_guest)
{
	(void)vcpu;
	*out_guest = fake.guest;
}

void vmx_guest_write(struct virt_vcpu *vcpu, const struct vmx_guest *guest,
		     const struct vmx_guest *old)
{
	assert_memory_equal(old, &fake.guest, sizeof(*old));
	uint64_t rip = fake.guest.rip, rflags = fake.guest.rflags;
	fake.guest = *guest;
	fake.guest.rip = rip;
	fake.guest.rflags = rflags;
	fake.guest_writes++;
	vcpu->interruptibility = (uint32_t)guest->interruptibility;
}

void vmx_controls_read(struct virt_vcpu *vcpu, struct vmx_controls *out_controls)
{
	(void)vcpu;
	*out_controls = fake.controls;
}

void vmx_host_read(struct virt_vcpu *vcpu, struct vmx_host *out_host)
{
	(void)vcpu;
	*out_host = fake.host;
}

void vmx_live_get(struct virt_vcpu *vcpu, struct vmx_live *out_live)
{
	(void)vcpu;
	*out_live = fake.live;
}

void vmx_live_set(struct virt_vcpu *vcpu, const struct vmx_live *live)
{
	(void)vcpu;
	fake.live = *live;
}

/* --- guest state ------------------------------------------------------------------------------ */

struct guest_segment segment(uint16_t selector, uint32_t limit, uint32_t attributes)
{
	return (struct guest_segment){ .selector = selector,
				       .limit = limit,
				       .attributes = attributes };
}

struct guest_state real_mode_state(void)
{
	struct guest_state wanted = { .cr0 = 0x60000010,
				      .dr6 = 0xffff0ff0,
				      .dr7 = 0x400,
				      .pat = 0x0007040600070406,
				      .gdtr.limit = 0xffff,
				      .idtr.limit = 0xffff };
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		wanted.segment[i] = segment(0, 0xffff, 0x93);
	wanted.segment[SEG_CS] = segment(0xf000, 0xffff, 0x9b);
	wanted.segment[SEG_CS].base = 0xffff0000;
	wanted.segment[SEG_LDTR] = segment(0, 0xffff, 0x82);
	wanted.segment[SEG_TR] = segment(0, 0xffff, 0x8b);
	return wanted;
}

struct guest_state long_mode_state(void)
{
	struct guest_state wanted = { .cr0 = 0x80050033,
				      .cr3 = 0x1000,
				      .cr4 = 0x6f0,
				      .efer = 0xd01,
				      .dr6 = 0xffff0ff0,
				      .dr7 = 0x400,
				      .pat = 0x0407050600070106,
				      .gdtr = { 0xffffffff81000000, 0x7f },
				      .idtr = { 0xffffffff82000000, 0xfff },
				      .lstar = 0xffffffff81a00000,
				      .kernel_gs_base = 0x7f0000001000,
				      .sfmask = 0x47700 };
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		wanted.segment[i] = segment(0, 0, SEG_ATTR_UNUSABLE);
	wanted.segment[SEG_CS] = segment(0x10, 0xffffffff, 0xa09b);
	wanted.segment[SEG_LDTR] = segment(0, 0, SEG_ATTR_UNUSABLE);
	wanted.segment[SEG_TR] = segment(0x40, 0x206f, 0x8b);
	wanted.segment[SEG_TR].base = 0xfffffe0000003000;
	return wanted;
}

static struct guest_regs regs;

struct virt_vcpu vcpu_with(struct guest_state wanted)
{
	struct virt_vcpu vcpu = { .regs = &regs };
	regs = (struct guest_regs){ .rip = 0xfff0, .rflags = 2 };
	memset(&fake, 0, sizeof(fake));
	fake.guest.link_pointer = ~0ull;
	fake.guest.rflags = 2;
	fake.guest.entry_controls = decode_features(&skylake).entry;
	vmx_features = decode_features(&skylake);
	EXPECT(vmx_state_set(&vcpu, &wanted) == Q_OK);
	return vcpu;
}
