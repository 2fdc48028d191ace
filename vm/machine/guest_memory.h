/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as an instruction of the guest sees it: through its segments and page
 * tables, and with devices where there is no RAM.
 *
 * An access is first prepared: its address is translated, which may queue a page fault for the
 * guest, and RAM to be written gets a page. A prepared access cannot fail, so an instruction is
 * carried out as a whole or not at all.
 *
 * All functions run in the vCPU's thread, with no lock held.
 */
#ifndef VM_MACHINE_GUEST_MEMORY_H
#define VM_MACHINE_GUEST_MEMORY_H

#include "vm/insn/insn.h"

#include "vcpu.h"

/* The instruction at RIP, with the state that it runs in. */
struct fetched {
	struct guest_code_state code;
	enum insn_mode mode;
	unsigned byte_count; /* fewer than INSN_MAX_BYTES where the rest cannot be read */
	uint8_t bytes[INSN_MAX_BYTES];
};
/* Reads the bytes at RIP, as many as can be read, at most INSN_MAX_BYTES. */
void guest_insn_fetch(struct vcpu *vcpu, struct fetched *out_fetched);

/* Returns the linear address of segment:offset. `segment` is an enum guest_segment_name. */
uint64_t guest_linear(struct vcpu *vcpu, const struct fetched *fetched, unsigned segment,
		      uint64_t offset);

struct guest_access {
	gpa_t addr;          /* of the first byte */
	gpa_t next;          /* of the first byte on the next page, if any is there */
	uint8_t size;        /* 1 to 8 bytes */
	uint8_t first_bytes; /* how many of them lie on the first page */
};

enum guest_access_result {
	ACCESS_READY,
	ACCESS_FAULT,     /* the guest gets its exception */
	ACCESS_NO_MEMORY, /* there is a wish for memory: leave RIP alone */
};

/* Prepares an access of out_access->size bytes, which the caller has set, at linear `virt`. */
enum guest_access_result guest_access_prepare(struct vcpu *vcpu, const struct fetched *fetched,
					      uint64_t virt, enum mem_access access,
					      struct guest_access *out_access);

/*
 * Finds where a write at linear `virt` goes, and sets the accessed and dirty bits that it would
 * set. False: it would fault, or there is no memory to set a bit.
 */
bool guest_write_lookup(struct vcpu *vcpu, const struct fetched *fetched, uint64_t virt,
			gpa_t *out_addr);

/* Makes a prepared read: of RAM, or of a device. Where nothing answers, all bits read as 1. */
uint64_t guest_access_read(struct vcpu *vcpu, const struct guest_access *access);
/* Makes a prepared write: to RAM, or to a device. ROM and empty places ignore it. */
void guest_access_write(struct vcpu *vcpu, const struct guest_access *access, uint64_t value);

/* Like pgm_write(), with its errors; also requests a refill of the handy stock if it is low. */
q_status_t guest_physical_write(struct vcpu *vcpu, gpa_t to, const void *from,
				uint64_t size_bytes) Q_MUST_USE;

#endif
