/* SPDX-License-Identifier: MIT */
/*
 * The model of GMM's fuzzer. It knows each page that is in use: its owner, the guest
 * frame that it was reported for, how often it is referred to, and a stamp that the
 * fuzzer wrote into it. From this it says what each call must answer, with one
 * exception: how many pages are available depends on how chunks are filled. So the
 * fuzzer calls gmm_pages_available() first, and takes it at its word; but the answer
 * may never be less than what the VM was guaranteed and has set aside.
 */
#ifndef TESTS_FUZZ_GMM_MODEL_H
#define TESTS_FUZZ_GMM_MODEL_H

#include <stdio.h>
#include <stdlib.h>

#include "mm/gmm/gmm.h"

#define CHUNKS     12u
#define P          GMM_PAGES_PER_CHUNK
#define PAGES      (CHUNKS * P)
#define VM_COUNT   4u
#define SHARED_MAX 64u
#define KERNEL_MAX 40u

struct page {
	page_id_t id;
	hfn_t frame;
	gfn_t gfn;
	uint64_t stamp;
};

struct vm {
	gmm_vm_t handle; /* 0: there is no such VM */
	struct gmm_vm_config config;
	struct page pages[PAGES];
	unsigned count; /* private pages */
	unsigned references;
	uint64_t ballooned, set_aside;
	bool keeps_freed; /* since gmm_set_aside() */
	hpa_t kernel[GMM_ACCOUNT_COUNT][KERNEL_MAX];
	unsigned kernel_count[GMM_ACCOUNT_COUNT];
};

struct shared {
	page_id_t id;
	hfn_t frame;
	uint64_t stamp;
	unsigned holds; /* 0 and no reference: the slot is free */
	unsigned references[VM_COUNT];
};

extern struct vm vms[VM_COUNT];
extern struct shared shared_pages[SHARED_MAX];
extern unsigned quire_count;      /* of Quire's kernel pages */
extern uint64_t kept_for_sharing; /* see gmm_shared_keep() */
extern uint64_t random_state;

#define CHECK(condition)                                                                        \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

uint64_t random_next(void);
uint64_t below(uint64_t limit);
uint64_t lesser(uint64_t a, uint64_t b);
uint64_t *first_word(hfn_t frame);

/* --- a shared page ------------------------------------------------------------------ */

unsigned references_of(const struct shared *shared);
bool is_used(const struct shared *shared);
/* Returns any shared page that is in use, or NULL. */
struct shared *shared_choose(void);

/* --- a VM --------------------------------------------------------------------------- */

/* Pages of BASE: what it has, what its promise has left, what it was guaranteed. */
uint64_t allocated(const struct vm *vm);
uint64_t room(const struct vm *vm);
uint64_t guaranteed(const struct vm *vm);
/* Returns how many private pages the VM can have, whatever other VMs do. */
uint64_t sure(const struct vm *vm);
/* Returns what gmm_pages_available() answers, after a check that it may be so. */
uint64_t available(const struct vm *vm, uint64_t want);

/* Lowers what is set aside by pages that were allocated. */
void count_down(struct vm *vm, uint64_t pages);
/* Notes a page that GMM handed out: no VM has it, and it is as zero as GMM says. */
void page_note(struct vm *vm, const struct gmm_page *page, gfn_t frame);
/* Takes a page out of the model; its stamp must still be there. */
struct page page_forget(struct vm *vm, unsigned index);
/* Sets pages aside that were freed, if the VM keeps them. */
void freed(struct vm *vm, unsigned count);

/* --- audit -------------------------------------------------------------------------- */

/* Runs gmm_check(), and compares GMM's figures and some of its pages with the model. */
void audit(void);

#endif
