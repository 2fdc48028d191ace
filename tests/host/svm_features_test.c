/* SPDX-License-Identifier: MIT */
/* CPUID words to struct svm_features, and the reasons not to run guests. */
#include "svm_model.h"

#include <string.h>

TEST(svm, features_come_from_their_cpuid_bits)
{
	struct svm_features f;
	svm_features_decode(&(struct svm_cpuid){ 0 }, &f);
	EXPECT(!f.has_svm && !f.has_nested_paging && !f.has_flush_by_asid);
	EXPECT(f.clean_bits == 0 && f.asid_count == 0);
	EXPECT(f.cr4_allowed == 0x7ff && f.linear_address_bits == 48);

	/* QEMU 7.2 -cpu max */
	svm_features_decode(&(struct svm_cpuid){ .leaf_7_ecx = 1u << 16,
						 .leaf_80000001_ecx = 1u << 2,
						 .leaf_80000008_eax = 0x3928,
						 .leaf_8000000a_ebx = 16,
						 .leaf_8000000a_edx = 0x10010001 },
			    &f);
	EXPECT(f.has_svm && f.has_nested_paging && !f.has_flush_by_asid && f.clean_bits == 0);
	EXPECT(f.asid_count == 16 && f.physical_address_bits == 40);
	EXPECT(f.linear_address_bits == 57 && (f.cr4_allowed & CR4_LA57));

	EXPECT(!f.injects_twice);

	svm_features_decode(&(struct svm_cpuid){ .leaf_8000000a_edx = 0x60 }, &f);
	EXPECT(f.has_flush_by_asid && f.clean_bits == 0x3f7);

	struct svm_cpuid emulator = { 0 };
	memcpy(&emulator.leaf_40000000_ebx, "TCGTCGTCGTCG", 12);
	svm_features_decode(&emulator, &f);
	EXPECT(f.injects_twice);
	memcpy(&emulator.leaf_40000000_ebx, "KVMKVMKVM\0\0", 12);
	svm_features_decode(&emulator, &f);
	EXPECT(!f.injects_twice);
}

/* No emulator has such a CPU or firmware, so only the words are tested. */
TEST(svm, refusals_say_why)
{
	const uint64_t svm_disabled = 1u << 4; /* VM_CR.SVMDIS */
	struct svm_features features = {
		.has_svm = true,
		.has_nested_paging = true,
		.asid_count = 16,
	};
	EXPECT(svm_features_refuse(&features, 0) == NULL);
	EXPECT(strstr(svm_features_refuse(&features, svm_disabled), "firmware disabled"));
	features.asid_count = 1;
	EXPECT(strstr(svm_features_refuse(&features, 0), "address space identifier"));
	features.has_nested_paging = false;
	EXPECT(strstr(svm_features_refuse(&features, 0), "nested paging"));
	features.has_svm = false;
	EXPECT(strstr(svm_features_refuse(&features, 0), "no AMD-V"));
}
