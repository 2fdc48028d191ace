/* SPDX-License-Identifier: MIT */
/*
 * GMM, the global memory manager, keeps track of the owner of each page of the
 * machine. The design page is in gmm.c. Any thread on any CPU may call these
 * functions. They take GMM's locks themselves, never sleep, and never look
 * inside a VM.
 *
 * A page id names a page machine-wide: (chunk id << GMM_CHUNK_ID_SHIFT) | index.
 */
#ifndef MM_GMM_GMM_H
#define MM_GMM_GMM_H

#include <quire/addr.h>
#include <quire/bits.h>
#include <quire/status.h>

#ifndef GMM_CHUNK_SHIFT
#define GMM_CHUNK_SHIFT 21 /* 2 MiB, one large nested page; 20 (1 MiB) also works */
#endif
#ifndef GMM_WORD_BITS
#define GMM_WORD_BITS 32 /* of the tracking word, see gmm_word.h; 64 also works */
#endif
#define GMM_CHUNK_SIZE      (1ull << GMM_CHUNK_SHIFT)
#define GMM_CHUNK_ID_SHIFT  (GMM_CHUNK_SHIFT - PAGE_SHIFT)
#define GMM_PAGES_PER_CHUNK (1u << GMM_CHUNK_ID_SHIFT)
#define GMM_PAGE_ID_LAST    (BIT32(28) - 1) /* 28 bits fit PGM's record */

typedef struct {
	uint32_t raw;
} page_id_t;

#define PAGE_ID_NIL ((page_id_t){ 0 })

static inline bool page_id_is_nil(page_id_t id)
{
	return id.raw == 0;
}

/* A VM's handle, 1 .. GMM_VM_LAST. GMM_VM_QUIRE owns the pages that belong to no VM. */
typedef uint16_t gmm_vm_t;
#define GMM_VM_QUIRE 0u
#define GMM_VM_LAST  (GMM_WORD_BITS == 64 ? 1023u : 255u)

/* Stands for a guest frame that is not known (kernel memory, handy pages). */
#define GFN_UNKNOWN ((gfn_t){ ~0ull })

/* The largest guest frame that a tracking word can hold: a little less than 16 TiB, or 64 GiB. */
#define GMM_GFN_LAST (GMM_WORD_BITS == 64 ? 0xfffffff0u : BIT32(24) - 3)

/* Each VM's accounts: guest RAM and ROM with handy pages; nested tables; records and the rest. */
enum gmm_account { GMM_BASE, GMM_SHADOW, GMM_FIXED, GMM_ACCOUNT_COUNT };

enum gmm_overcommit { GMM_OVERCOMMIT_NONE, GMM_OVERCOMMIT_ZERO_AND_SHARED, GMM_OVERCOMMIT_FULL };

/* When memory is scarce, GMM serves the VM with the higher number first. */
enum gmm_priority { GMM_PRIORITY_LOW, GMM_PRIORITY_NORMAL, GMM_PRIORITY_HIGH };

struct gmm_region {
	hpa_t start, end; /* half open, page aligned */
};

struct gmm_vm_config {
	uint64_t pages[GMM_ACCOUNT_COUNT]; /* promised: what each account may grow to */
	uint64_t guaranteed_base_pages;    /* the part of GMM_BASE that the VM can always get */
	enum gmm_overcommit overcommit;    /* NONE: guarantees all of GMM_BASE */
	enum gmm_priority priority;
	/* The VM gets memory of its own, see gmm_bound.c; only with overcommit NONE. */
	bool is_bound;
	struct gmm_region bound_range; /* where that memory must be; empty: anywhere */
};

/* Pages that were promised unconditionally and are not allocated. */
struct gmm_claims {
	uint64_t base;   /* PRIVATE pages: guarantees */
	uint64_t kernel; /* KERNEL pages: the SHADOW and FIXED accounts */
};

struct gmm_vm_stats {
	uint64_t promised[GMM_ACCOUNT_COUNT];
	uint64_t allocated[GMM_ACCOUNT_COUNT]; /* BASE: private_pages + shared_pages */
	uint64_t guaranteed_base;
	uint64_t private_pages;
	uint64_t shared_pages; /* references to shared pages */
	uint64_t ballooned_pages;
	uint64_t set_aside_pages;
	uint64_t bound_pages; /* in its BOUND chunks, used or free; 0: it is not bound */
};

struct gmm_stats {
	uint64_t machine_pages; /* all that GMM manages */
	uint64_t chunk_count;   /* chunks taken from the machine */
	uint64_t chunks_free;   /* chunks still with the machine */
	uint64_t free_pages;    /* in taken chunks */
	uint64_t private_pages, shared_pages, kernel_pages;
	uint64_t shared_references; /* those of VMs */
	uint64_t pages_saved;       /* how many more pages those VMs would need without sharing */
	uint64_t reserved_pages;    /* sum of all guarantees and SHADOW and FIXED promises */
	uint64_t claimed_pages;     /* of these, not allocated: no other VM may take them */
	uint64_t bound_pages;       /* in chunks of bound VMs, used or free */
	uint64_t mixed_chunks;      /* PRIVATE chunks with pages of more than one VM */
	uint64_t vm_count;
	uint64_t metadata_bytes; /* chunk records and words */
};

/* --- start-up ------------------------------------------------------------- */

/* Returns how many bytes of page-aligned memory gmm_init() needs for these regions. */
uint64_t gmm_metadata_size(const struct gmm_region *regions, unsigned region_count);

/*
 * Takes over the machine's free memory: the aligned chunks inside `regions`,
 * which are sorted and disjoint. `metadata` belongs to GMM from here on: zeroed,
 * page aligned, gmm_metadata_size() bytes, outside of those chunks.
 * Q_NO_MEMORY: there is no chunk.
 */
q_status_t gmm_init(const struct gmm_region *regions, unsigned region_count,
		    void *metadata) Q_MUST_USE;

/* --- VMs ------------------------------------------------------------------ */

/*
 * Creates a VM if the machine can keep its promises, all or nothing. Q_DECLINED:
 * all guarantees together would exceed the machine, or bound_range has too few
 * free chunks. Q_LIMIT: no handle is left. Q_INVALID: the figures contradict each
 * other. Q_NO_MEMORY: kernel memory could not be mapped. KERNEL pages for the
 * SHADOW and FIXED accounts are provided here, so gmm_kernel_page_alloc() within
 * these accounts cannot fail.
 */
q_status_t gmm_vm_create(const struct gmm_vm_config *config, gmm_vm_t *out_vm) Q_MUST_USE;

/*
 * Frees every page that the VM still has, in all accounts, and its guarantees.
 * The caller must already have dropped the VM's references to shared pages.
 */
void gmm_vm_destroy(gmm_vm_t vm);

/*
 * Returns how much the machine can still promise. `base` is what is left once `kernel_pages` more
 * KERNEL pages, or as many as possible, are claimed. Only for the text of a refusal: other threads
 * change the figures at any time.
 */
struct gmm_claims gmm_claims_left(uint64_t kernel_pages);

/*
 * Grows or shrinks the VM's promises and sets its priority, all or nothing.
 * Q_STATE: a promise would be less than what the VM has allocated, ballooned or
 * set aside, or is_bound or the BASE pages of a bound VM would change. Else as in
 * gmm_vm_create().
 */
q_status_t gmm_vm_resize(gmm_vm_t vm, const struct gmm_vm_config *config) Q_MUST_USE;

/*
 * Changes how much of BASE is guaranteed, and nothing else. Q_INVALID: more than
 * was promised; Q_DECLINED as in gmm_vm_create(). Shrinking is never declined.
 */
q_status_t gmm_vm_reserve(gmm_vm_t vm, uint64_t guaranteed_base_pages) Q_MUST_USE;

void gmm_vm_stats(gmm_vm_t vm, struct gmm_vm_stats *out_stats);
void gmm_stats(struct gmm_stats *out_stats);

/* --- guest pages (private) -------------------------------------------------- */

struct gmm_page {
	hfn_t frame;
	page_id_t id;
	bool is_zeroed; /* the content is known to be all zero */
};

/*
 * Allocates `count` pages from the VM's BASE account, all or none. Q_LIMIT: they
 * would exceed the VM's promise. Q_NO_MEMORY: other reservations claim all
 * that is left, or it is another VM's turn (gmm_wait_begin()). A page whose
 * is_zeroed is false has stale contents: the caller must clear or fill it before
 * a guest can see it.
 */
q_status_t gmm_pages_alloc(gmm_vm_t vm, struct gmm_page *out_pages, unsigned count) Q_MUST_USE;

/* Returns how many pages, at most `want`, gmm_pages_alloc() could give this VM now. */
uint64_t gmm_pages_available(gmm_vm_t vm, uint64_t want);

/*
 * Frees private pages of the VM, in order, and stops at the first error
 * (Q_NOT_FOUND, Q_STATE: free already or not private, Q_NOT_OWNER). *out_done is
 * how many it freed. No translation to these pages may exist any more.
 */
q_status_t gmm_pages_free(gmm_vm_t vm, const page_id_t *ids, unsigned count,
			  unsigned *out_done) Q_MUST_USE;

/* Records which guest frame uses the page, for defragmentation and checks. */
q_status_t gmm_page_set_gfn(gmm_vm_t vm, page_id_t id, gfn_t gfn) Q_MUST_USE;

struct gmm_page_info {
	enum { GMM_PAGE_FREE, GMM_PAGE_PRIVATE, GMM_PAGE_SHARED, GMM_PAGE_KERNEL } kind;
	gmm_vm_t owner;      /* PRIVATE, KERNEL */
	gfn_t gfn;           /* PRIVATE; GFN_UNKNOWN if not reported */
	uint64_t references; /* SHARED: of VMs and of Quire */
};
q_status_t gmm_page_info(page_id_t id, struct gmm_page_info *out_info) Q_MUST_USE;

/* Returns the machine frame of a page, whose chunk must exist. */
hfn_t gmm_page_frame(page_id_t id);

/*
 * Allocates a whole chunk for the VM, for one large nested mapping. All its pages
 * become private, with consecutive guest frames from `first_gfn`, a multiple of
 * GMM_PAGES_PER_CHUNK. *out_first is the first page; the ids and frames of the
 * others follow it. Its is_zeroed is true only if all pages are zero. The
 * pages are freed one by one, like others. Q_LIMIT, Q_NO_MEMORY as in
 * gmm_pages_alloc(); Q_NO_MEMORY also if no chunk is wholly free. Q_RANGE: a guest
 * frame does not fit, or `first_gfn` is not aligned.
 */
q_status_t gmm_chunk_alloc(gmm_vm_t vm, gfn_t first_gfn, struct gmm_page *out_first) Q_MUST_USE;

/*
 * Allocates a page for the VM in a better place than its page `from`: in a fuller
 * chunk, if possible one of the VM's own. The caller copies `from`, makes every
 * translation lead to the new page, and frees `from`. Until then the VM has one
 * page more, hence Q_LIMIT, and Q_NO_MEMORY if every available page is claimed;
 * VMs that wait do not matter here. Q_NOT_FOUND: there is no better place. Else
 * as in gmm_pages_free().
 */
q_status_t gmm_page_move_alloc(gmm_vm_t vm, page_id_t from, struct gmm_page *out_page) Q_MUST_USE;

/*
 * Finds the PRIVATE chunk that is, roughly, the `rank`-th emptiest, so that the
 * caller can move its pages elsewhere and make it wholly free. *out_first is the
 * chunk's first page. False: there is no such chunk, or the other chunks have no
 * room for its pages.
 */
bool gmm_move_source(unsigned rank, page_id_t *out_first);

/*
 * Sets `count` pages aside for the VM: its next `count` private pages cannot fail.
 * Each page that it allocates counts this down, and each page that it frees is
 * set aside in addition, so that the VM can exchange the pages it has.
 * gmm_set_aside_end() gives up what is left; a second gmm_set_aside() replaces it.
 * Q_LIMIT, Q_NO_MEMORY: nothing changed.
 */
q_status_t gmm_set_aside(gmm_vm_t vm, uint64_t count) Q_MUST_USE;
void gmm_set_aside_end(gmm_vm_t vm);

/* --- shared pages: read-only, with a count of references, without an owner ----- */

/*
 * Keeps `page_count` unclaimed pages from VMs that want more than their guarantee
 * and what is set aside for them. Promises, old and new, come before these pages.
 * The reason: merging first needs a chunk for shared pages. If VMs could take the
 * last page, a memory full of equal pages would stay full. Initially 0.
 */
void gmm_shared_keep(uint64_t page_count);
/*
 * Allocates a shared page with one reference, which is GMM_VM_QUIRE's. Contents as
 * in gmm_pages_alloc(). Q_NO_MEMORY: no chunk has room, and none can become SHARED.
 */
q_status_t gmm_shared_alloc(struct gmm_page *out_page) Q_MUST_USE;

/*
 * Exchanges a private page of the VM for a reference to `shared`, in one step, and
 * frees the private page. The exchange needs no room in the VM's promise. Errors as in
 * gmm_pages_free() and gmm_shared_get(); on failure nothing changed.
 */
q_status_t gmm_shared_replace(gmm_vm_t vm, page_id_t private_page, page_id_t shared) Q_MUST_USE;

/*
 * Adds a reference of the VM, charged to BASE, or one of GMM_VM_QUIRE, which is not
 * charged. Q_LIMIT: the VM's promise or the counter is used up; Q_DENIED: the VM is
 * bound; Q_NOT_FOUND, Q_STATE: not a shared page.
 */
q_status_t gmm_shared_get(gmm_vm_t vm, page_id_t shared) Q_MUST_USE;

/*
 * Drops one reference of the VM (or of GMM_VM_QUIRE) for each id, in order, and
 * stops at the first error (Q_NOT_FOUND, Q_STATE: not a shared page, Q_NOT_OWNER:
 * no such reference). Dropping the last reference frees the page. *out_done is how
 * many it dropped. For each reference that a VM drops, its translation must already
 * be gone.
 */
q_status_t gmm_shared_put(gmm_vm_t vm, const page_id_t *ids, unsigned count,
			  unsigned *out_done) Q_MUST_USE;

/* --- the balloon: pages of its promise that the guest gave up ------------------ */

/*
 * Lowers what the VM may allocate by `count` pages, which the caller has freed
 * before. Q_LIMIT: the VM may not allocate that many more.
 */
q_status_t gmm_balloon_inflate(gmm_vm_t vm, uint64_t count) Q_MUST_USE;

/* Gives `count` pages back to the VM, or all ballooned ones. Q_STATE: fewer are ballooned. */
q_status_t gmm_balloon_deflate(gmm_vm_t vm, uint64_t count) Q_MUST_USE;
void gmm_balloon_reset(gmm_vm_t vm);

/* --- VMs that wait for memory -------------------------------------------------- */

/*
 * Puts the VM into the queue of those that wait for memory, until gmm_wait_end().
 * The queue is ordered by priority, then by when the wait began. Pages that no
 * reservation claims go to the first waiter and to running VMs of a higher
 * priority than it. All other VMs are refused these pages, so that running VMs
 * cannot starve a waiting one. A VM inside its reservation is never refused.
 * A VM that already waits keeps its place.
 */
void gmm_wait_begin(gmm_vm_t vm);
/* Takes the VM out of the queue, if it waits: it runs again, or needs no memory any more. */
void gmm_wait_end(gmm_vm_t vm);
/* Returns the first waiter, whose turn it is; GMM_VM_QUIRE: no VM waits. */
gmm_vm_t gmm_wait_first(void);

/* --- what a machine address is ------------------------------------------------ */

enum gmm_memory {
	GMM_MEMORY_NONE,   /* not managed by GMM: Quire's image, modules, devices, no memory */
	GMM_MEMORY_FREE,   /* in a FREE chunk */
	GMM_MEMORY_GUEST,  /* in a PRIVATE, BOUND or SHARED chunk */
	GMM_MEMORY_KERNEL, /* in a KERNEL chunk */
};
enum gmm_memory gmm_memory_at(hpa_t addr);

/* --- kernel pages: nested tables, records, heap; permanently mapped ---------- */

/* Allocates a zeroed page, charged to the VM's SHADOW or FIXED account (QUIRE: not charged). */
q_status_t gmm_kernel_page_alloc(gmm_vm_t vm, enum gmm_account account, hpa_t *out_page) Q_MUST_USE;
void gmm_kernel_page_free(gmm_vm_t vm, enum gmm_account account, hpa_t page);

/* --- content, by page id, through the mapping cache --------------------------- */

/*
 * Returns the page's address on this CPU. It is valid until the caller sleeps or
 * yields, or maps PHYSMEM_WINDOW_COUNT / 2 other pages. Never store it.
 */
void *gmm_page_map(page_id_t id);

/*
 * gmm_page_map() for a caller that does not own the page and only reads it: the
 * contents may change, or be another page's, at any moment. NULL: there is no such page.
 */
const void *gmm_page_peek(page_id_t id);

void gmm_page_clear(page_id_t id);
void gmm_page_copy(page_id_t to, page_id_t from);
bool gmm_page_is_zero(page_id_t id);
bool gmm_page_is_equal(page_id_t a, page_id_t b);

struct gmm_map_stats {
	uint64_t lookaside_hits, tree_hits, misses, evictions;
};
void gmm_map_stats(struct gmm_map_stats *out_stats); /* summed over CPUs */

/* In idle time, clears up to `count` free pages of PRIVATE and BOUND chunks; returns how many. */
unsigned gmm_zero_ahead(unsigned count);

/* Asserts every invariant of the design page in gmm.c. */
void gmm_check(void);

#endif
