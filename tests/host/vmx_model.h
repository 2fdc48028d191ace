/* SPDX-License-Identifier: MIT */
/*
 * A CPU with VT-x and a VMCS in plain memory, for the tests of the VT-x backend. They write
 * words as the SDM draws them, not with the backend's own constants, so that the two cannot
 * agree on a mistake.
 */
#ifndef TESTS_HOST_VMX_MODEL_H
#define TESTS_HOST_VMX_MODEL_H

#include "test.h"

#include "vmx/vmx_internal.h"

/* What Bochs' corei7_skylake_x reports. */
extern const struct vmx_words skylake;

struct vmx_features decode_features(const struct vmx_words *words);

/* What vmx_fields.c and vmx_live.c would read from the VMCS and from the CPU, and write there. */
extern struct fake_vmcs {
	struct vmx_guest guest;
	struct vmx_live live;
	struct vmx_controls controls;
	struct vmx_host host;
	unsigned guest_writes;
} fake;

struct guest_segment segment(uint16_t selector, uint32_t limit, uint32_t attributes);
/* A guest after reset. */
struct guest_state real_mode_state(void);
/* A 64-bit kernel with a null SS, as Linux runs. */
struct guest_state long_mode_state(void);

/* A vCPU in the state `wanted` on a Skylake, and its VMCS in `fake`. */
struct virt_vcpu vcpu_with(struct guest_state wanted);

#endif
