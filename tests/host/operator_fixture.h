/* SPDX-License-Identifier: MIT */
/*
 * Quire's operator on the host: quire.conf goes in, lines are typed at the console, and what it
 * prints comes out. operator/, vm/, the loader and the memory of VMs are real, over fake RAM.
 * Fake are the machine that a guest runs on, the sharing scanner, and what they call of the kernel.
 */
#ifndef TESTS_HOST_OPERATOR_FIXTURE_H
#define TESTS_HOST_OPERATOR_FIXTURE_H

#include <string.h>

#include "lib/error_text.h"
#include "reclaim/share_scan.h"
#include "vm/vm.h"
#include "vm/vm_config.h"

#include "fake_cmdline.h"
#include "fake_console.h"
#include "fake_heap.h"
#include "fake_power.h"
#include "fake_thread.h"
#include "test.h"

#define MACHINE_BYTES (64ull << 20)

/* --- the scene ----------------------------------------------------------------------------- */

/* A machine that was just switched on: its memory is free, and "vmlinuz" is its only module. */
void operator_set_up(void);
/*
 * Starts the operator with this quire.conf (NULL: there is none), and lets the threads run. What
 * it printed is on the screen; boot_error says why it refused.
 */
q_status_t operator_boot(const char *conf);
extern struct error_text boot_error;

/* Both: at the prompt, without a VM. */
static inline void operator_at_prompt(void)
{
	operator_set_up();
	EXPECT(operator_boot("") == Q_OK);
}

/* --- the terminal ---------------------------------------------------------------------------- */

/* Types text, and lets the threads run; Enter is "\r". */
void type(const char *text);
void type_bytes(const void *bytes, size_t count);
/* A second passes, which is longer than any thread sleeps by itself. */
void time_passes(void);
/*
 * Types a line and Enter, and returns what its command printed: without the echo of the line and
 * the next prompt.
 */
const char *answer(const char *line);
#define EXPECT_ANSWER(line, text) assert_string_equal(answer(line), text)
/* The command works, and has nothing to say. */
#define EXPECT_DONE(line) EXPECT_ANSWER(line, "")

/* --- guests ---------------------------------------------------------------------------------- */

/* What the guests' serial ports took, in order, and how many bytes they will still take. */
extern char guest_typed[4096];
extern unsigned guest_room;
/* What machine_exit_figures() and machine_cpu_ticks() say of every machine. */
extern struct exit_figures guest_exits[VMEXIT_KIND_COUNT];
extern uint64_t guest_ticks;

void guest_prints(const char *name, const char *text);
/* The guest uses its power switch. */
void guest_power(const char *name, enum vpc_power what, uint32_t value);
/* Its first vCPU finds no memory. */
void guest_wants_memory(const char *name, uint64_t page_count);
/* The guest writes a byte to each of `count` pages from `first` on. */
void guest_touches(const char *name, uint64_t first, unsigned count);
/* It writes to one page after the other, until there is no memory. */
void guest_takes_all(const char *name);

/* The VM of that name, which must exist. */
struct vm *vm_named(const char *name);

/* --- the sharing scanner ------------------------------------------------------------------------ */

/* What share_scan_stats() says, but for its switches, which the operator sets. */
extern struct share_scan_stats scan_stats;
extern struct share_scan_config scan_config; /* as share_scan_start() got it */
extern bool scan_is_on;
extern unsigned scan_cpu_percent;
/* What share_scan_start() and zero_ahead_start() return. */
extern q_status_t scan_start_status, zero_ahead_start_status;

/* --- the log ------------------------------------------------------------------------------------ */

/* What `log` did last: "show", "level N"; "": nothing. */
extern char log_command[16];

/* --- checks that `check` makes ------------------------------------------------------------------ */

/* How often the address space was walked, and the machines and the scanner were checked. */
extern unsigned leaves_checked, machines_checked, scans_checked;

#endif
