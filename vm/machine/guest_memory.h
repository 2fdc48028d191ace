/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as an instruction of the guest sees it: through its
 * segments and page tables, and with devices where there is no RAM.
 *
 * An access is prepared first: translated, page faults queued for the guest,
 * RAM that will be written backed with pages. What is prepared cannot fail any
 * more, so an instruction is carried out as a whole or not at all.
 */
#ifndef VM_MACHINE_GUEST_MEMORY_H
#define VM_MACHINE_GUEST_MEMORY_H

#include "vm/insn/insn.h"

#include "vcpu.h"

/* The instruction at RIP, with the state that it runs in. */
struct fetched {
	struct guest_code_state code;
	enum insn_mode mode;
	unsigned byte_count; /* fewer than INSN_MAX_BYTES where the rest is not there */
	uint8_t bytes[INSN_MAX_BYTES];
};
void guest_insn_fetch(struct vcpu *vcpu, struct fetched *out_fetched);

/* The linear address of segment:offset. */
uint64_t guest_linear(struct vcpu *vcpu, const struct fetched *fetched, unsigned segment,
		      uint64_t offset);

struct guest_access {
	gpa_t addr;          /* of the first byte */
	gpa_t next;          /* of what lies on the next page */
	uint8_t size;        /* 1 to 8 bytes */
	uint8_t first_bytes; /* of them on the first page */
};

enum guest_access_result {
	ACCESS_READY,
	ACCESS_FAULT,     /* the guest gets its page fault */
	ACCESS_NO_MEMORY, /* there is a wish for memory: leave RIP alone */
};

/* Prepares an access of `size` bytes at linear address `virt`. */
enum guest_access_result guest_access_prepare(struct vcpu *vcpu, const struct fetched *fetched,
					      uint64_t virt, enum mem_access access,
					      struct guest_access *out_access);

/*
 * Where a write at `virt` goes, if it leaves the guest's page tables as they are.
 * False: it faults, or has to set a dirty bit first.
 */
bool guest_write_lookup(struct vcpu *vcpu, const struct fetched *fetched, uint64_t virt,
			gpa_t *out_addr);

/* Device memory where there is no RAM; nobody there reads as ones. */
uint64_t guest_access_read(struct vcpu *vcpu, const struct guest_access *access);
/* ROM, and places where nobody is, ignore it. */
void guest_access_write(struct vcpu *vcpu, const struct guest_access *access, uint64_t value);

/* Guest-physical: what pgm_write() does, with the stock refilled in time. Q_RANGE: not RAM. */
q_status_t guest_physical_write(struct vcpu *vcpu, gpa_t to, const void *from,
				uint64_t size_bytes) Q_MUST_USE;

#endif
