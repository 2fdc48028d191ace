/* SPDX-License-Identifier: MIT */
/*
 * A machine of vm/machine on the host: real devices, decoder and memory over fake RAM. Below it,
 * the kernel and the backend are fakes, whose state a test sets and reads. They assert what the
 * real ones demand of their callers: interrupts are off at the entry, the CPU would accept the
 * injected event.
 *
 * A test writes guest memory and registers and describes an exit; take_exit() runs the vCPU,
 * which leaves the guest with that exit and handles it. next_event() returns the event that the
 * next entry delivers, so a test sees queued events where the guest sees them.
 */
#ifndef TESTS_HOST_MACHINE_FIXTURE_H
#define TESTS_HOST_MACHINE_FIXTURE_H

#include "fake_cpu.h"

#include <stdlib.h>
#include <string.h>

#include <quire/x86_state.h>

#include "kernel/thread.h"
#include "vm/machine/guest_memory.h"
#include "vm/machine/inject.h"
#include "vm/machine/machine_internal.h"
#include "vm/machine/vcpu.h"

#include "fake_cmdline.h"
#include "fake_console.h"
#include "fake_heap.h"
#include "seam/seam.h"
#include "test.h"

#define TSC_HZ 2000000000ull
#define EPOCH  1700000000ull /* Unix time at TSC 0 */

#define CPUID_SIGNATURE 0x00a20f10u /* leaf 1, EAX */

/* --- the kernel below --------------------------------------------------------------------- */

struct thread {
	char name[48];
	void (*body)(void *argument); /* not called: the test drives the vCPU */
	void *argument;
	unsigned unparks;
	uint64_t cpu_ticks;
};

extern struct fake {
	struct percpu percpu;
	struct thread *self; /* what thread_self() returns */

	uint64_t tsc, tsc_step; /* each cpu_rdtsc() returns `tsc`, then adds `tsc_step` */
	uint64_t xcr0, xcr0_supported;
	bool irqs_are_off;

	const struct timer *timer; /* the one that is armed, or NULL */
	uint64_t timer_deadline;   /* host TSC */
	unsigned timer_arms;       /* calls of timer_arm() */

	unsigned lazy_switches;
} fake;

/* --- the backend below -------------------------------------------------------------------- */

struct virt_vcpu {
	struct guest_regs *regs;
	struct guest_state state;
	hpa_t root;
	uint64_t tsc_offset;
	bool window;          /* wanted */
	bool takes_interrupt; /* RFLAGS.IF and no shadow */
	bool refuses_state;   /* state_set() returns Q_INVALID */

	struct guest_event event;     /* for the next run */
	struct guest_event delivered; /* by the last run */

	/* How often each operation was called. */
	unsigned runs, resets, flushes, skips, windows, checks, dumps;
};

/* Each run calls this as the guest, before its exit. NULL: the guest does nothing. */
extern void (*guest_code_hook)(struct virt_vcpu *virt);
/* The fake backend. A test may change it before set_up(). */
extern struct virt_ops fake_ops;

/* --- the scene ---------------------------------------------------------------------------- */

#define MIB(n)      ((uint64_t)(n) << 20)
#define HOST_BYTES  MIB(32)
#define GUEST_BYTES MIB(64)

extern struct machine machine;
extern struct vcpu *cpu; /* vCPU 0 */

/* Makes fake RAM and GMM and sets the fakes to their start values. There is no machine yet. */
void host_set_up(void);
struct machine_config machine_config_of(unsigned vcpu_count);
/* Also makes a machine of GUEST_BYTES, powers it on, and lets each vCPU serve its requests. */
void set_up(unsigned vcpu_count);
/* The same with one vCPU, which is in 64-bit mode; see mode_64(). */
void set_up_64(void);
/* Ends the machine and asserts that nothing of it is left. */
void tear_down(void);

/* What GMM and the fakes count. A failed creation leaves it unchanged. */
struct census {
	unsigned blocks; /* of the heap; threads and the backend's vCPUs too */
	uint64_t vms, private_pages, kernel_pages, reserved_pages;
};
struct census census_take(void);

/* Leaves no memory to the guest but `stock` pages of its handy stock. */
void memory_exhaust(unsigned stock);
/* Ends memory_exhaust(). */
void memory_release(void);
/* Replaces the guest's page by a shared one of the same content; its next write needs a page. */
void page_share(uint64_t addr);

/* --- guest memory ------------------------------------------------------------------------- */

#define CODE_AT   0x10000ull /* where the guest's code is */
#define STACK_AT  0x18000ull
#define TABLES_AT 0x200000ull /* page tables, up to 1 MiB of them */

#define PAGE_P  1ull
#define PAGE_W  2ull
#define PAGE_U  4ull
#define PAGE_PS 0x80ull
#define PAGE_NX (1ull << 63)
/* Accessed and dirty are set, so that a walk writes nothing. */
#define PAGE_AD     0x60ull
#define PAGE_KERNEL (PAGE_P | PAGE_W | PAGE_AD)
#define PAGE_USER   (PAGE_KERNEL | PAGE_U)

void guest_put(uint64_t addr, const void *bytes, size_t size_bytes);
void guest_put_number(uint64_t addr, uint64_t value, unsigned size_bytes);
void guest_fill(uint64_t addr, uint8_t byte, size_t size_bytes);
uint64_t guest_number(uint64_t addr, unsigned size_bytes);
/* True if all bytes there are `byte`. */
bool guest_is_all(uint64_t addr, uint8_t byte, size_t size_bytes);

/* Writes the bytes of a string literal to CODE_AT and moves RIP there. */
#define guest_code(literal) guest_code_put(literal, sizeof(literal) - 1)
void guest_code_put(const void *bytes, size_t size_bytes);

/* Maps a 4 KiB page in the tables that mode_64() made. Without flags it is not present. */
void page_map(uint64_t virt, uint64_t addr, uint64_t flags);
/* The entry of such a page, and the guest-physical address of that entry. */
uint64_t page_entry(uint64_t virt);
uint64_t page_entry_at(uint64_t virt);

/*
 * Each sets vCPU 0's mode, with CPL 0 and RIP at CODE_AT. mode_64() builds page tables, so it is
 * called at most once after a power-on: RAM is mapped 1:1 by large pages that users may access, and
 * so are the two APICs' pages. The other two have no paging and flat segments.
 */
void mode_64(void);
void mode_32(void);
void mode_16(void);

/* --- running ------------------------------------------------------------------------------ */

/* The registers before the last take_exit(), and the wish that it left. */
extern struct taken {
	struct guest_regs before;
	struct vcpu_wish wish;
} taken;

/* Queues an exit. Each entry ends with the next queued one; after the last vcpu_run() returns. */
void exit_queue(const struct vmexit *exit);
/* How many queued exits were not used; forgets them. */
unsigned exits_left(void);
/* For guest_code_hook: this run ends with that exit instead of the queued one. */
void exit_replace(const struct vmexit *exit);
/* Calls vcpu_run() as the vCPU's thread. */
void run(struct vcpu *vcpu);
/* Serves the vCPU's requests as its thread, like the loop. */
void serve(struct vcpu *vcpu);

/* Serves the vCPU's requests, enters the guest, and handles `exit`. */
void take_exit_of(struct vcpu *vcpu, struct vmexit exit);
#define take_exit(...) take_exit_of(cpu, (struct vmexit){ __VA_ARGS__ })
/* Enters the guest, which leaves with a host interrupt, and returns what the entry delivered. */
struct guest_event next_event_of(struct vcpu *vcpu);
#define next_event() next_event_of(cpu)

/* True if the last exit moved RIP by `length` and the next entry delivers nothing. */
bool is_done(unsigned length);
/* True if RIP has not moved and the next entry delivers nothing: the guest tries again. */
bool is_retried(void);

#define NO_CODE (-1)
/* True if RIP has not moved and the next entry delivers the exception. */
bool raises(unsigned vector, int64_t error_code);
/* The same for #PF, with CR2. */
bool raises_page_fault(uint64_t address, uint32_t error_code);
/* True if the next entry delivers the exception. */
bool delivers(unsigned vector, int64_t error_code);

/* take_exit() for an access to memory. */
void take_memory_exit(uint64_t addr, enum mem_access access);

/* --- devices ------------------------------------------------------------------------------ */

#define LAPIC_AT  VPC_LAPIC_BASE
#define IOAPIC_AT VPC_IOAPIC_BASE

/* Access the register at `offset` of the vCPU's local APIC. */
uint32_t lapic_get(const struct vcpu *vcpu, unsigned offset);
void lapic_set(struct vcpu *vcpu, unsigned offset, uint32_t value);
/* Enables each local APIC through its spurious vector register. */
void lapics_enable(void);
/* Sends an edge-triggered interrupt, or an NMI, as a thread that is not a vCPU's. */
void interrupt_raise(struct vcpu *vcpu, uint8_t vector);
void nmi_raise(struct vcpu *vcpu);

#endif
