/* SPDX-License-Identifier: MIT */
/*
 * What the files of mm/gmm share: the chunk record, the free sets, the VMs' books,
 * and the functions that change them.
 *
 *   file            what it is                                          takes
 *   gmm.h           the interface
 *   gmm.c           design page, layout of the metadata, start, figures set_lock
 *   gmm_word.h      pure: the tracking word, with gmm_word32.h and      none
 *                   gmm_word64.h, of which each build has one
 *   gmm_chunk.c     chunk ids, finding a chunk, the supply              both
 *   gmm_set.c       free pages: chains in a chunk, sets of chunks       none
 *   gmm_alloc.c     private pages: allocate, free, report, zero ahead   set_lock
 *   gmm_place.c     whole chunks and better places for private pages    set_lock
 *   gmm_account.c   claims, admission, creation and end of a VM         both
 *   gmm_balloon.c   the balloon, pages set aside                        set_lock
 *   gmm_wait.c      the queue of VMs that wait for memory               set_lock
 *   gmm_bound.c     chunks of bound VMs                                 none
 *   gmm_share.c     shared pages and SHARED chunks                      set_lock
 *   gmm_kernel.c    kernel pages and KERNEL chunks                      both
 *   gmm_map.c       the mapping cache: guest memory through windows     set_lock
 *   gmm_check.c     asserts every invariant                             both
 *
 * Locks: `takes` says which of gmm.lock and gmm.set_lock the file's public functions
 * take. Functions marked Q_REQUIRES are called with these locks held; the others
 * are pure or say what they need. docs/locking.md has the two locks.
 *
 * Threads: any, except that a mapping cache belongs to its CPU and is never used by
 * interrupt handlers.
 */
#ifndef MM_GMM_GMM_INTERNAL_H
#define MM_GMM_GMM_INTERNAL_H

#include <quire/list.h>
#include <quire/lock.h>

#include "lib/avl.h"
#include "mm/gmm/gmm.h"

#include "gmm_word.h"

/* Id 0 is never given out, so that page id 0 can be NIL. */
#define GMM_CHUNK_ID_LAST (GMM_PAGE_ID_LAST >> GMM_CHUNK_ID_SHIFT)

/* Eight ids for each chunk, so that an id is unused for long before another chunk gets it. */
#define GMM_IDS_PER_CHUNK 8u

/* Classes of chunks by free pages: 1/8 of a chunk each, wholly free chunks alone in the last. */
#define GMM_CLASS_SHIFT (GMM_CHUNK_ID_SHIFT - 3)
#define GMM_CLASS_WHOLE (GMM_PAGES_PER_CHUNK >> GMM_CLASS_SHIFT)
#define GMM_CLASS_COUNT (GMM_CLASS_WHOLE + 1)

/* How many wholly free PRIVATE chunks GMM keeps, for VMs that free and allocate in turn. */
#define GMM_WHOLE_KEPT 2u
/* How many unclaimed KERNEL pages GMM keeps: unmapping a chunk to give it back is slow. */
#define GMM_KERNEL_PAGES_KEPT (GMM_PAGES_PER_CHUNK / 2)

#define GMM_LOOKASIDE_COUNT 64u
#define GMM_VM_COUNT        (GMM_VM_LAST + 1)

/* gmm.c says what each kind guarantees, and what ends it. */
enum gmm_chunk_kind {
	GMM_CHUNK_FREE, /* with the machine */
	GMM_CHUNK_PRIVATE,
	GMM_CHUNK_BOUND, /* private pages of the tagged VM only */
	GMM_CHUNK_SHARED,
	GMM_CHUNK_KERNEL,
	GMM_CHUNK_KIND_COUNT,
};

struct gmm_chunk {
	/* Fixed by gmm_init(). */
	hpa_t base;

	/* Written under gmm.set_lock; gmm_map.c reads it without. 0: FREE or on its way. */
	uint32_t id;

	/* Guarded by gmm.set_lock. */
	enum gmm_chunk_kind kind;
	bool has_chains;       /* it was in use before, and its free chains are still valid */
	gmm_vm_t tag;          /* PRIVATE: the VM it is for, QUIRE if wholly free; BOUND: its VM */
	uint16_t own_count;    /* PRIVATE, BOUND: pages that the tagged VM owns */
	uint16_t free_count;   /* on both chains */
	uint16_t zeroed_count; /* on the zeroed chain */
	uint16_t stale_head;   /* free pages with unknown contents, last freed first */
	uint16_t zeroed_head;  /* free pages that are known to be zero */
	struct list_node link; /* in the supply, or in a list of its set if a page is free */
	struct list_node
		stale_link;   /* in gmm.stale, if PRIVATE or BOUND and a stale page is free */
	struct avl_node node; /* in gmm.tree, by id */
	gmm_word_t words[GMM_PAGES_PER_CHUNK];
};

/* Chunks of one kind that have free pages. PRIVATE and BOUND chunks have a set for each tag. */
struct gmm_set {
	struct list_node lists[GMM_CLASS_COUNT];
	uint64_t free_pages;
	uint64_t whole_count; /* chunks in the last list */
};

struct gmm_vm {
	/* Guarded by gmm.set_lock. Promises change under both locks, except in gmm_vm_reserve(). */
	bool is_live;
	enum gmm_priority priority;
	uint64_t wait_ticket; /* 0: does not wait; a lower ticket waits for longer */
	uint64_t promised[GMM_ACCOUNT_COUNT];
	uint64_t guaranteed_base;
	bool is_bound;

	uint64_t bound_chunks;                 /* also while the VM is being created */
	uint64_t allocated[GMM_ACCOUNT_COUNT]; /* BASE: private pages and shared references */
	uint64_t shared_references;            /* part of allocated[GMM_BASE] */
	uint64_t ballooned;
	uint64_t set_aside; /* private pages promised up front, see gmm_set_aside() */
	bool keeps_freed;   /* pages that it frees are set aside */
};

/* Chunks that follow each other without a gap. */
struct gmm_span {
	hpa_t base;
	uint32_t first; /* index of its first chunk in gmm.chunks */
	uint32_t count;
};

struct gmm {
	/*
	 * Rank LOCK_RANK_GMM: held while promises change and while chunks move into
	 * and out of KERNEL memory, which is slow. It guards no list. A chunk on its
	 * way belongs to the thread that holds this lock.
	 */
	struct spinlock lock;
	struct spinlock set_lock; /* rank LOCK_RANK_GMM_SET: held briefly */

	/* Fixed by gmm_init(). */
	struct gmm_chunk *chunks; /* every chunk of the machine, by address */
	uint32_t chunk_count;
	struct gmm_span *spans; /* sorted by base */
	uint32_t span_count;
	uint32_t id_last;
	uint64_t metadata_bytes;

	/* Guarded by set_lock. */
	struct list_node supply; /* FREE chunks, except one that is on its way */
	uint64_t supply_count;   /* in the list */
	uint64_t chunks_by_kind[GMM_CHUNK_KIND_COUNT];
	uint64_t *id_map; /* bit set: the id is in use */
	uint32_t id_previous;
	struct avl_tree tree;
	struct gmm_chunk *lookaside[GMM_LOOKASIDE_COUNT]; /* hints: right if the ids agree */

	struct gmm_set private_sets[GMM_VM_COUNT]; /* by tag; QUIRE's has the wholly free chunks */
	struct gmm_set kernel_set;
	struct gmm_set shared_set;
	struct list_node stale;      /* PRIVATE and BOUND chunks with stale free pages */
	uint64_t private_free_pages; /* in PRIVATE chunks */
	uint64_t bound_free_pages;   /* in BOUND chunks */
	uint64_t mixed_chunks;
	uint64_t shared_references; /* of all VMs */
	uint64_t shared_holds;      /* of Quire */
	uint64_t pages_saved;       /* sum of (references - 1) over pages with any */

	struct gmm_vm vms[GMM_VM_COUNT];
	struct gmm_claims claims;  /* summed over all VMs */
	gmm_vm_t first_waiter;     /* QUIRE: no VM waits */
	uint64_t wait_ticket;      /* the last one given */
	uint64_t kept_for_sharing; /* see gmm_shared_keep() */
};

extern struct gmm gmm;

/* --- gmm_chunk.c: ids, tree, supply --------------------------------------------- */

static inline page_id_t gmm_page_id(const struct gmm_chunk *chunk, uint32_t index)
{
	return (page_id_t){ (chunk->id << GMM_CHUNK_ID_SHIFT) | index };
}

static inline uint32_t gmm_page_index(page_id_t id)
{
	return id.raw & (GMM_PAGES_PER_CHUNK - 1);
}

static inline hpa_t gmm_page_address(const struct gmm_chunk *chunk, uint32_t index)
{
	return hpa_add(chunk->base, (uint64_t)index << PAGE_SHIFT);
}

/* Returns the chunk that a page id names, or NULL. Any id is allowed. */
struct gmm_chunk *gmm_chunk_find(page_id_t id) Q_REQUIRES(gmm.set_lock);
/* Returns the chunk at a machine address, or NULL. Needs no lock. */
struct gmm_chunk *gmm_chunk_at(hpa_t addr);
/*
 * Returns the first chunk of the supply. If the supply is empty, a PRIVATE chunk that
 * GMM kept goes there first. NULL: there is no chunk. The caller checks the claims.
 */
struct gmm_chunk *gmm_chunk_supplied(void) Q_REQUIRES(gmm.set_lock);
/* Takes a chunk off the supply. It is on its way to becoming this kind, and counts as such. */
void gmm_chunk_detach(struct gmm_chunk *chunk, enum gmm_chunk_kind kind) Q_REQUIRES(gmm.set_lock);
/* Ends the way of a detached chunk: it gets an id, and all its pages are free. */
void gmm_chunk_attach(struct gmm_chunk *chunk, gmm_vm_t tag) Q_REQUIRES(gmm.set_lock);
/* Detaches and attaches a chunk, where nothing has to be done on the way; NULL: there is none. */
struct gmm_chunk *gmm_chunk_take(enum gmm_chunk_kind kind) Q_REQUIRES(gmm.set_lock);

/* Begins the way back of a wholly free chunk: it loses its id, and counts as FREE from here on. */
void gmm_chunk_leave(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/* Puts a chunk into the supply that has left its set, or was only detached. */
void gmm_chunk_supply(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/* gmm_chunk_leave() and gmm_chunk_supply(). */
void gmm_chunk_return(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);

/* --- gmm_set.c: free pages -------------------------------------------------------- */

static inline unsigned gmm_class_of(const struct gmm_chunk *chunk)
{
	return chunk->free_count >> GMM_CLASS_SHIFT;
}

/* True if the chunk's used pages are private pages of VMs. */
static inline bool gmm_chunk_is_guest(const struct gmm_chunk *chunk)
{
	return chunk->kind == GMM_CHUNK_PRIVATE || chunk->kind == GMM_CHUNK_BOUND;
}

/* True if a VM other than the tagged one has pages in a PRIVATE or BOUND chunk. */
static inline bool gmm_chunk_is_mixed(const struct gmm_chunk *chunk)
{
	return GMM_PAGES_PER_CHUNK - chunk->free_count > chunk->own_count;
}

void gmm_set_init(struct gmm_set *set);
struct gmm_set *gmm_set_of(const struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/*
 * Take a chunk out of its set's lists and of all totals, and put it back. Every
 * change of a chunk's pages happens between the two, so the totals cannot drift.
 */
void gmm_set_remove(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
void gmm_set_add(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/* Return a chunk of the class with the fewest, or the most, free pages; NULL: the set is empty. */
struct gmm_chunk *gmm_set_fullest(const struct gmm_set *set) Q_REQUIRES(gmm.set_lock);
struct gmm_chunk *gmm_set_emptiest(const struct gmm_set *set) Q_REQUIRES(gmm.set_lock);
/* Returns a wholly free chunk; NULL: there is none. */
struct gmm_chunk *gmm_set_whole(const struct gmm_set *set) Q_REQUIRES(gmm.set_lock);

/* Makes all pages of a chunk free and stale, in ascending order. The chunk is in no set. */
void gmm_chain_init(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/* Takes a free page off its chain, a zeroed one if there is one. The caller writes its word. */
uint32_t gmm_chain_pop(struct gmm_chunk *chunk, bool *out_is_zeroed) Q_REQUIRES(gmm.set_lock);
uint32_t gmm_chain_pop_stale(struct gmm_chunk *chunk) Q_REQUIRES(gmm.set_lock);
/* Makes a page free. */
void gmm_chain_push(struct gmm_chunk *chunk, uint32_t index, bool is_zeroed)
	Q_REQUIRES(gmm.set_lock);

/* --- gmm_alloc.c --------------------------------------------------------------------- */

/* Checks whether the VM may have `count` more private pages. Q_LIMIT, Q_NO_MEMORY. */
q_status_t gmm_private_admit(gmm_vm_t vm, uint64_t count) Q_REQUIRES(gmm.set_lock) Q_MUST_USE;
/* Takes up to `want` pages from one chunk for the VM, and returns how many. Charges nothing. */
unsigned gmm_private_draw(struct gmm_chunk *chunk, gmm_vm_t vm, struct gmm_page *out_pages,
			  unsigned want) Q_REQUIRES(gmm.set_lock);
/* Finds the chunk of a private page of the VM. Q_NOT_FOUND, Q_STATE, Q_NOT_OWNER. */
q_status_t gmm_private_find(gmm_vm_t vm, page_id_t id, struct gmm_chunk **out_chunk)
	Q_REQUIRES(gmm.set_lock) Q_MUST_USE;
/* Frees a page that gmm_private_find() found. Discharges nothing. */
void gmm_private_free(struct gmm_chunk *chunk, gmm_vm_t vm, uint32_t index)
	Q_REQUIRES(gmm.set_lock);
/* Returns a wholly free chunk for the VM, kept or taken from the machine; NULL: there is none. */
struct gmm_chunk *gmm_private_whole(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* Frees every page that the VM has in a PRIVATE or BOUND chunk. */
void gmm_private_release(struct gmm_chunk *chunk, gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* Gives wholly free PRIVATE chunks back to the machine until `kept` are left. */
void gmm_private_trim(uint64_t kept) Q_REQUIRES(gmm.set_lock);

/* --- gmm_account.c -------------------------------------------------------------------- */

struct gmm_vm *gmm_vm_find(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* Sets `vm` to `wanted`, and adapts the claims. */
void gmm_vm_replace(struct gmm_vm *vm, const struct gmm_vm *wanted) Q_REQUIRES(gmm.set_lock);
/* Charge pages to an account (BASE: private ones), or discharge them, and adapt the claims. */
void gmm_vm_charge(gmm_vm_t vm, enum gmm_account account, uint64_t pages) Q_REQUIRES(gmm.set_lock);
void gmm_vm_discharge(gmm_vm_t vm, enum gmm_account account, uint64_t pages)
	Q_REQUIRES(gmm.set_lock);
/* Returns what this VM's promises add to gmm.claims. */
struct gmm_claims gmm_vm_claims(const struct gmm_vm *vm);
/* Returns what gmm.claims would be if `vm` were `wanted`. */
struct gmm_claims gmm_claims_with(const struct gmm_vm *vm, const struct gmm_vm *wanted)
	Q_REQUIRES(gmm.set_lock);
/* Returns how many pages may still be added to allocated[GMM_BASE], ballooned or set_aside. */
uint64_t gmm_vm_room(const struct gmm_vm *vm);
/* Returns how many pages could become PRIVATE pages of some VM. */
uint64_t gmm_available_pages(void) Q_REQUIRES(gmm.set_lock);
/* Returns how many pages there are for the VM before a KERNEL chunk has to be given back. */
uint64_t gmm_pages_at_hand(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* True if the machine could meet these claims once *out_chunks more chunks have become KERNEL. */
bool gmm_claims_fit(struct gmm_claims claims, uint64_t *out_chunks) Q_REQUIRES(gmm.set_lock);

/* --- gmm_wait.c ----------------------------------------------------------------------- */

/* Returns how many more BASE pages the VM may have now, apart from the limit of its promise. */
uint64_t gmm_pages_for(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* gmm_wait_end() for callers that hold gmm.set_lock. */
void gmm_wait_end_locked(gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);
/* Finds the first waiter again, after a wait or a priority has changed. */
void gmm_wait_update(void) Q_REQUIRES(gmm.set_lock);
/* Asserts W1 and W2. */
void gmm_wait_check(void) Q_REQUIRES(gmm.set_lock);

/* --- gmm_bound.c ------------------------------------------------------------------------ */

/* Returns how many chunks `pages` pages take. */
static inline uint64_t gmm_bound_chunks(uint64_t pages)
{
	return (pages >> GMM_CHUNK_ID_SHIFT) + ((pages & (GMM_PAGES_PER_CHUNK - 1)) != 0);
}

/*
 * Gives the VM `count` chunks inside the range (empty: anywhere), or none: Q_DECLINED.
 * gmm.set_lock is released in between.
 */
q_status_t gmm_bound_take(gmm_vm_t vm, struct gmm_region range, uint64_t count)
	Q_REQUIRES(gmm.lock, gmm.set_lock) Q_MUST_USE;
/* Gives the VM's chunks back; no page in them is used. gmm.set_lock is released in between. */
void gmm_bound_return(gmm_vm_t vm) Q_REQUIRES(gmm.lock, gmm.set_lock);

/* --- gmm_kernel.c ----------------------------------------------------------------------- */

/*
 * Makes `chunk_count` more KERNEL chunks. Q_NO_MEMORY: mapping failed, nothing
 * changed. gmm.set_lock is released meanwhile, so the caller must check again
 * what it relies on.
 */
q_status_t gmm_kernel_grow(uint64_t chunk_count) Q_REQUIRES(gmm.lock, gmm.set_lock) Q_MUST_USE;
/*
 * Gives wholly free KERNEL chunks back as long as `kept` unclaimed pages stay.
 * gmm.set_lock is released meanwhile, as above.
 */
void gmm_kernel_trim(uint64_t kept) Q_REQUIRES(gmm.lock, gmm.set_lock);
/* Gives back all KERNEL chunks that can be spared, and waits until no chunk is on its way. */
void gmm_kernel_spare(void) Q_EXCLUDES(gmm.lock, gmm.set_lock);
/* Frees every page that the VM has in a KERNEL chunk. */
void gmm_kernel_release(struct gmm_chunk *chunk, gmm_vm_t vm) Q_REQUIRES(gmm.set_lock);

/* --- gmm_map.c ------------------------------------------------------------------------------ */

void gmm_map_init(void);
/* gmm_page_map() for callers that hold gmm.set_lock. */
void *gmm_map_chunk_page(const struct gmm_chunk *chunk, uint32_t index) Q_REQUIRES(gmm.set_lock);
/* Asserts the invariants of this CPU's cache. */
void gmm_map_check(void);

#endif
