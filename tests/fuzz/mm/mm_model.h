/* SPDX-License-Identifier: MIT */
/*
 * What the files of the fuzzer share: VMs as the model knows them. mm_fuzz.c chooses
 * operations; each other file carries some of them out, on PGM and on the model.
 *
 *   mm_fuzz.c    what it does; operations, memory pressure, main()
 *   mm/model.c   random choices; what the model knows and expects
 *   mm/audit.c   compares all books and all pages with the model
 *   mm/access.c  guests and the hypervisor read and write
 *   mm/pages.c   requests about pages, the balloon, restoring
 *   mm/merge.c   merges, step by step
 *   mm/life.c    VMs come, get ROM and handlers, are reset and go
 *   mm/device.c  device memory
 */
#ifndef TESTS_FUZZ_MM_MM_MODEL_H
#define TESTS_FUZZ_MM_MM_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include <quire/compiler.h>

#include "mm/gmm/gmm.h"
#include "mm/pgm/pgm.h"
#include "mm/pgm/pgm_device.h"
#include "mm/pgm/pgm_handler.h"
#include "mm/pgm/pgm_rom_shadow.h"
#include "mm/pgm/pgm_internal.h"

#include "nested_walk.h"
#include "seam/seam.h"

#define VM_COUNT     3u
#define VCPU_COUNT   2u
#define FRAME_COUNT  1024u /* RAM of a VM is below 4 MiB */
#define DEVICE_PAGES 16u
#define LOW_END      160u /* guest frames: 640 KiB */
#define HIGH_START   256u /* 1 MiB */

/*
 * A translation is good as long as the vCPU's generation is that of the tables. A CPU
 * that cached it as dirty does not set the dirty bit again.
 */
struct tlb_entry {
	uint64_t generation;
	bool is_dirty;
	struct nested_result translation;
};

struct vcpu {
	uint64_t generation; /* at its last entry */
	struct tlb_entry tlb[FRAME_COUNT];
};

struct vm {
	struct pgm *pgm; /* NULL: there is no such VM now */
	const struct slat_format *format;
	enum gmm_overcommit overcommit;
	uint64_t frame_end; /* of RAM */
	uint64_t rom_start, rom_end;
	bool is_rom_shadowed;
	unsigned handy; /* pages in the stock, or handed out ahead and not used */
	unsigned private_pages, rom_shadow_pages;
	unsigned shared_pages, ballooned_pages;
	uint64_t tags[FRAME_COUNT];         /* of RAM or ROM's shadow; 0: the page is all zero */
	uint64_t rom_tags[FRAME_COUNT];     /* of ROM */
	uint8_t rom_modes[FRAME_COUNT];     /* enum pgm_rom_mode */
	enum pgm_state states[FRAME_COUNT]; /* of RAM or ROM's shadow */
	uint8_t handlers[FRAME_COUNT];      /* enum pgm_handler_kind */
	struct pgm_device *device;
	uint64_t device_start; /* 0: it is mapped nowhere */
	bool is_device_tracked;
	uint64_t device_tags[DEVICE_PAGES];
	bool is_device_dirty[DEVICE_PAGES];
	struct vcpu vcpus[VCPU_COUNT];
};

extern struct vm vms[VM_COUNT];

/* What a run did. */
struct figures {
	uint64_t audits, proposed, merged, blocks_backed, ahead_used;
};
extern struct figures figures;

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

/* --- random choices: model.c ------------------------------------------------------------------ */

void random_seed(uint64_t seed);
uint64_t random_next(void);
uint64_t below(uint64_t limit);
/* One of few values, and zero often, so that pages are equal by chance. */
uint64_t tag_random(void);
/* Half of the time one of a few frames, so that operations meet the effects of others. */
uint64_t frame_choose(const struct vm *vm);

/* --- the model: model.c ----------------------------------------------------------------------- */

/* At the same place in every page, so that pages with the same tag are equal. */
#define TAG_OFFSET 0x928u

static inline uint64_t tag_address(uint64_t frame)
{
	return (frame << PAGE_SHIFT) + TAG_OFFSET;
}

bool is_ram(const struct vm *vm, uint64_t frame);
bool is_rom(const struct vm *vm, uint64_t frame);
bool is_device(const struct vm *vm, uint64_t frame);
bool is_memory(const struct vm *vm, uint64_t frame);
bool is_private(const struct vm *vm, uint64_t frame);
bool takes_writes(const struct vm *vm, uint64_t frame);
/* True if reads reach ROM, and not RAM or ROM's shadow. */
bool reads_rom(const struct vm *vm, uint64_t frame);
/* True if a write takes a page from the stock. */
bool needs_page(const struct vm *vm, uint64_t frame);
/* True if a handler wants this access. */
bool is_handled(const struct vm *vm, uint64_t frame, enum mem_access access);
/* Handed out ahead, as the record says, but not written, as the model says. */
bool is_ahead(const struct vm *vm, uint64_t frame);
unsigned ahead_count(const struct vm *vm);
/* The state that PGM's record must have. */
enum pgm_state state_of(const struct vm *vm, uint64_t frame);

uint64_t tag_read(const struct vm *vm, uint64_t frame);
void tag_write(struct vm *vm, uint64_t frame, uint64_t tag);

/* Must be called after the fault, but before the model follows it. */
enum pgm_outcome expected_outcome(const struct vm *vm, uint64_t frame, enum mem_access access);
/* Follows a write: the page is the VM's own now, or the write is noted. */
void model_back(struct vm *vm, uint64_t frame);
/* A page that was handed out ahead counts as used from now on: it is the VM's own. */
void model_use(struct vm *vm, uint64_t frame);
/* Follows a page that went back to GMM; `state` is its new state. */
void model_release(struct vm *vm, uint64_t frame, enum pgm_state state);
/* Follows a reset: all RAM is ZERO, the stock is empty, and ROM is read. */
void model_forget(struct vm *vm);
/* How many pages a refill can get, asked ahead of it. Sends the reports first, as it would. */
unsigned model_refill(const struct vm *vm);

/* --- audit.c ---------------------------------------------------------------------------------- */

/* Audits all VMs and GMM. */
void audit(void);
/* Compares all of one page, as the hypervisor reads it, with the model. */
void audit_page(const struct vm *vm, uint64_t frame);

/* --- access.c --------------------------------------------------------------------------------- */

void guest_read(struct vm *vm, uint64_t frame, enum mem_access access);
void guest_write(struct vm *vm, uint64_t frame);
/* The guest goes through several pages in a row, up or down. */
void guest_run(struct vm *vm);
void host_read(struct vm *vm, uint64_t frame);
/* Writes one to three pages in a row, from the first tag to the last, with zeros between. */
void host_write(struct vm *vm, uint64_t frame);

/* --- pages.c ---------------------------------------------------------------------------------- */

/* The page id in the record, or NIL. */
page_id_t id_of(const struct vm *vm, uint64_t frame);
bool is_in_state(const struct vm *vm, uint64_t frame, page_id_t id, enum pgm_state state);
void page_monitor(struct vm *vm, uint64_t frame, page_id_t id);
void page_zero(struct vm *vm, uint64_t frame, page_id_t id);
/* One of the requests, of the balloon's operations, or a restore. */
void page_operate(struct vm *vm, uint64_t frame);

/* --- merge.c ---------------------------------------------------------------------------------- */

/* One step of one of the merges. */
void merges_advance(void);
/* Ends all merges with pages of a VM that is going to be destroyed. */
void merges_forget(const struct vm *vm);
/* Ends all merges. */
void merges_end(void);

/* --- life.c ----------------------------------------------------------------------------------- */

void vm_create(struct vm *vm);
void vm_destroy(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_refill(struct vm *vm);
/* ROM goes below 1 MiB, where the model has tags for it. */
void vm_rom_add(struct vm *vm);
void vm_rom_mode_set(struct vm *vm);
/* Adds or removes handlers. */
void handler_change(struct vm *vm);

/* --- device.c --------------------------------------------------------------------------------- */

/* One of the operations on device memory; adds it first. */
void device_operate(struct vm *vm);

#endif
