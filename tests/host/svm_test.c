/* SPDX-License-Identifier: MIT */
/* The small parts of the AMD-V backend: clean bits, permission maps, ASIDs. */
#include "svm_model.h"

#include <string.h>

/* --- clean bits -------------------------------------------------------------------- */

TEST(svm, setters_clear_the_clean_bit_of_their_group)
{
#define EXPECT_CLEARS(field, bit)                             \
	do {                                                  \
		vmcb.control.clean = ~0u;                     \
		vmcb_set_##field(&vmcb, 7);                   \
		EXPECT(vmcb.control.clean == ~(1u << (bit))); \
		EXPECT(vmcb.control._##field == 7);           \
	} while (0)
	set_up();
	EXPECT_CLEARS(intercept_exceptions, 0);
	EXPECT_CLEARS(intercept_1, 0);
	EXPECT_CLEARS(intercept_2, 0);
	EXPECT_CLEARS(tsc_offset, 0);
	EXPECT_CLEARS(iopm_base, 1);
	EXPECT_CLEARS(msrpm_base, 1);
	EXPECT_CLEARS(asid, 2);
	EXPECT_CLEARS(nested_cr3, 4);
#undef EXPECT_CLEARS
	EXPECT(peek(0x040, 8) == 7 && peek(0x048, 8) == 7 && peek(0x050, 8) == 7);
	EXPECT(peek(0x058, 4) == 7 && peek(0x0b0, 8) == 7);
}

/* --- permission maps ---------------------------------------------------------------- */

static unsigned zero_bits(const uint8_t *map, unsigned size_bytes)
{
	unsigned count = 0;
	for (unsigned i = 0; i < size_bytes; i++)
		count += 8 - (unsigned)__builtin_popcount(map[i]);
	return count;
}

TEST(svm, every_port_exits)
{
	svm_permissions_init();
	EXPECT(zero_bits(svm_iopm, SVM_IOPM_BYTES) == 0);
}

TEST(svm, only_registers_of_the_vmcb_pass)
{
	svm_permissions_init();
	EXPECT(svm_msrpm[0x05d] == 0xc0); /* 174h to 176h */
	EXPECT(svm_msrpm[0x09d] == 0x3f); /* 277h: bits 6, 7 */
	EXPECT(svm_msrpm[0x820] == 0x03); /* C0000081h to C0000083h, not EFER */
	EXPECT(svm_msrpm[0x821] == 0xfc); /* C0000084h */
	EXPECT(svm_msrpm[0x840] == 0xc0); /* C0000100h to C0000102h, not TSC_AUX */
	EXPECT(zero_bits(svm_msrpm, SVM_MSRPM_BYTES) == 2 * 11);
}

/* --- address space identifiers ---------------------------------------------------------- */

static struct svm_cpu cpus[2];

static void asid_set_up(uint32_t asid_count)
{
	set_up();
	memset(cpus, 0, sizeof(cpus));
	svm_asid_cpu_init(&cpus[0], 0, asid_count);
	svm_asid_cpu_init(&cpus[1], 1, asid_count);
	cpus[0].host_area = hpa(0x10000);
	cpus[1].host_area = hpa(0x11000);
}

static bool must_assign(const struct svm_cpu *cpu)
{
	return vcpu.asid_stamp != cpu->asid_stamp;
}

TEST(svm, first_entry_on_a_cpu_flushes_everything)
{
	asid_set_up(16);
	EXPECT(must_assign(&cpus[0]));
	vmcb.control.clean = ~0u;
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(!must_assign(&cpus[0]) && must_assign(&cpus[1]));
	EXPECT(vcpu.host_area.raw == cpus[0].host_area.raw);
	EXPECT(peek(0x058, 4) == 1 && peek(0x05c, 1) == 1 && vmcb.control.clean == 0);
}

TEST(svm, identifiers_do_not_repeat_within_a_generation)
{
	asid_set_up(4);
	for (unsigned generation = 0; generation < 3; generation++) {
		for (unsigned asid = 1; asid < 4; asid++) {
			svm_asid_assign(&vcpu, &cpus[0]);
			EXPECT(peek(0x058, 4) == asid);
			EXPECT(peek(0x05c, 1) == (asid == 1));
		}
	}
}

TEST(svm, new_generation_takes_every_identifier_back)
{
	asid_set_up(2);
	svm_asid_assign(&vcpu, &cpus[0]);
	uint64_t stamp = vcpu.asid_stamp;
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(vcpu.asid_stamp != stamp);
}

TEST(svm, vcpu_that_comes_back_gets_a_new_identifier)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	svm_asid_assign(&vcpu, &cpus[1]);
	EXPECT(must_assign(&cpus[0]));
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(peek(0x058, 4) == 2 && peek(0x05c, 1) == 0);
}

TEST(svm, cpu_turned_on_again_accepts_no_old_stamp)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	uint64_t old = vcpu.asid_stamp;
	svm_asid_cpu_init(&cpus[0], 0, 16);
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(vcpu.asid_stamp != old && peek(0x058, 4) == 1 && peek(0x05c, 1) == 1);
}

TEST(svm, flush_uses_what_the_cpu_has)
{
	asid_set_up(16);
	svm_asid_assign(&vcpu, &cpus[0]);
	vmcb.control.tlb_control = 0;
	svm_features.has_flush_by_asid = true;
	svm_tlb_flush(&vcpu);
	EXPECT(!must_assign(&cpus[0]) && peek(0x05c, 1) == 3);

	vmcb.control.tlb_control = 0;
	svm_features.has_flush_by_asid = false;
	svm_tlb_flush(&vcpu);
	EXPECT(must_assign(&cpus[0]));
	svm_asid_assign(&vcpu, &cpus[0]);
	EXPECT(peek(0x058, 4) == 2 && peek(0x05c, 1) == 0);
}
