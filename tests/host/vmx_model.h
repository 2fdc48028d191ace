/* SPDX-License-Identifier: MIT */
/* A CPU with VT-x, for the tests of the backend. */
#ifndef TESTS_HOST_VMX_MODEL_H
#define TESTS_HOST_VMX_MODEL_H

#include "test.h"

#include "vmx/vmx_internal.h"

/* What Bochs' corei7_skylake_x reports. */
static const struct vmx_words skylake = {
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

static inline struct vmx_features decode_features(const struct vmx_words *words)
{
	struct vmx_features features;
	assert_null(vmx_features_decode(words, &features));
	return features;
}

#endif
