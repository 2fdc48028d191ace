/* SPDX-License-Identifier: MIT */
/*
 * GMM, the global memory manager: who owns each page of the machine. The
 * design page is in gmm.c. All functions may be called on any CPU by any
 * thread, take GMM's locks themselves, never sleep, and never look inside a VM.
 *
 * Page ids name pages machine-wide: (chunk id << GMM_CHUNK_ID_SHIFT) | index.
 */
#ifndef MM_GMM_GMM_H
#define MM_GMM_GMM_H

#include <quire/addr.h>
#include <quire/bits.h>
#include <quire/status.h>

#ifndef GMM_CHUNK_SHIFT
#define GMM_CHUNK_SHIFT 21 /* 2 MiB, one nested large page; 20 is the other build */
#endif
#ifndef GMM_WORD_BITS
#define GMM_WORD_BITS 32 /* of the tracking word, see gmm_word.h; 64 is the other build */
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

/* 1 .. GMM_VM_LAST; GMM_VM_QUIRE owns what belongs to no VM. */
typedef uint16_t gmm_vm_t;
#define GMM_VM_QUIRE 0u
#define GMM_VM_LAST  (GMM_WORD_BITS == 64 ? 1023u : 255u)

/* The guest frame of a page that no frame is known for (kernel memory, handy pages). */
#define GFN_UNKNOWN ((gfn_t){ ~0ull })

/* The largest guest frame that a tracking word can hold: a little less than 16 TiB, or 64 GiB. */
#define GMM_GFN_LAST (GMM_WORD_BITS == 64 ? 0xfffffff0u : BIT32(24) - 3)

/* Per-VM accounts: guest RAM and ROM with handy pages; nested tables; records and the rest. */
enum gmm_account { GMM_BASE, GMM_SHADOW, GMM_FIXED, GMM_ACCOUNT_COUNT };

enum gmm_overcommit { GMM_OVERCOMMIT_NONE, GMM_OVERCOMMIT_ZERO_AND_SHARED, GMM_OVERCOMMIT_FULL };

/* Who is served first when memory is scarce; the higher number. */
enum gmm_priority { GMM_PRIORITY_LOW, GMM_PRIORITY_NORMAL, GMM_PRIORITY_HIGH };

struct gmm_region {
	hpa_t start, end; /* half open, page aligned */
};

struct gmm_vm_config {
	uint64_t pages[GMM_ACCOUNT_COUNT]; /* promised: what each account may grow to */
	uint64_t guaranteed_base_pages;    /* of GMM_BASE, can always be had */
	enum gmm_overcommit overcommit;    /* NONE: guarantees all of GMM_BASE */
	enum gmm_priority priority;
	/* Memory of its own, see gmm_bound.c; only with overcommit NONE. */
	bool is_bound;
	struct gmm_region bound_range; /* where it must be; empty: anywhere */
};

struct gmm_vm_stats {
	uint64_t promised[GMM_ACCOUNT_COUNT];
	uint64_t allocated[GMM_ACCOUNT_COUNT]; /* BASE: private_pages + shared_pages */
	uint64_t guaranteed_base;
	uint64_t private_pages;
	uint64_t shared_pages; /* references to shared pages */
	uint64_t ballooned_pages;
	uint64_t set_aside_pages;
	uint64_t bound_pages; /* in its own chunks, used or free; 0: it is not bound */
};

struct gmm_stats {
	uint64_t machine_pages; /* all that GMM manages */
	uint64_t chunk_count;   /* chunks taken from the machine */
	uint64_t chunks_free;   /* chunks still with the machine */
	uint64_t free_pages;    /* in taken chunks */
	uint64_t private_pages, shared_pages, kernel_pages;
	uint64_t shared_references; /* those of VMs */
	uint64_t pages_saved;       /* what those VMs would have more, each with pages of its own */
	uint64_t reserved_pages;    /* what all guarantees and table accounts add up to */
	uint64_t unclaimed_pages;   /* of it, not yet allocated: nobody else may have them */
	uint64_t bound_pages;       /* in chunks of bound VMs, used or free */
	uint64_t mixed_chunks;      /* PRIVATE chunks with pages of more than one VM */
	uint64_t vm_count;
	uint64_t metadata_bytes; /* chunk records and words */
};

/* --- start-up ------------------------------------------------------------- */

/* Bytes of page-aligned memory that gmm_init() wants for these regions. */
uint64_t gmm_metadata_size(const struct gmm_region *regions, unsigned region_count);

/*
 * Takes over the machine's free memory: the aligned chunks inside the sorted,
 * disjoint regions. `metadata` (zeroed, page aligned, gmm_metadata_size() bytes,
 * not inside any region's usable part) stays GMM's. Q_NO_MEMORY: not one chunk.
 */
q_status_t gmm_init(const struct gmm_region *regions, unsigned region_count,
		    void *metadata) Q_MUST_USE;

/* --- VMs ------------------------------------------------------------------ */

/*
 * Admission, in one atomic step: Q_DECLINED if all guarantees together would
 * exceed the machine, or if bound_range has not enough free chunks; Q_LIMIT when
 * no handle is left. Kernel pages for the SHADOW and FIXED accounts are set aside
 * here, so gmm_kernel_page_alloc() within them cannot fail later.
 */
q_status_t gmm_vm_create(const struct gmm_vm_config *config, gmm_vm_t *out_vm) Q_MUST_USE;

/*
 * Frees every page that the VM still has, in all accounts, and its guarantees.
 * But its references to shared pages: who owns it has dropped them before.
 */
void gmm_vm_destroy(gmm_vm_t vm);

/*
 * Grows or shrinks the promises; Q_DECLINED, or Q_STATE: below what is allocated, or
 * is_bound or the BASE pages of a bound VM would change.
 */
q_status_t gmm_vm_resize(gmm_vm_t vm, const struct gmm_vm_config *config) Q_MUST_USE;

/*
 * Changes what of BASE is guaranteed, and nothing else. Q_DECLINED as at
 * creation; less than now is never declined.
 */
q_status_t gmm_vm_reserve(gmm_vm_t vm, uint64_t guaranteed_base_pages) Q_MUST_USE;

void gmm_vm_stats(gmm_vm_t vm, struct gmm_vm_stats *out_stats);
void gmm_stats(struct gmm_stats *out_stats);

/* --- guest pages (private) -------------------------------------------------- */

struct gmm_page {
	hfn_t frame;
	page_id_t id;
	bool is_zeroed; /* content is known to be all zero */
};

/*
 * Allocates `count` pages of the VM's BASE account: all of them or none.
 * Q_LIMIT: the VM's promise would be exceeded; Q_NO_MEMORY: the machine has no
 * page that no reservation claims, or it is another's turn (gmm_wait_begin()).
 * Contents are stale where is_zeroed is false; the caller must clear or fill
 * them before a guest can see them.
 */
q_status_t gmm_pages_alloc(gmm_vm_t vm, struct gmm_page *out_pages, unsigned count) Q_MUST_USE;

/* How many pages gmm_pages_alloc() could give this VM now, at most `want`. */
uint64_t gmm_pages_available(gmm_vm_t vm, uint64_t want);

/*
 * Frees private pages of the VM, in order. On the first error (Q_NOT_FOUND,
 * Q_STATE: free already or not private, Q_NOT_OWNER) stops; *out_done says how
 * many were freed. No translation to them may exist any more.
 */
q_status_t gmm_pages_free(gmm_vm_t vm, const page_id_t *ids, unsigned count,
			  unsigned *out_done) Q_MUST_USE;

/* Records which guest frame uses the page: for defragmentation and checks. */
q_status_t gmm_page_set_gfn(gmm_vm_t vm, page_id_t id, gfn_t gfn) Q_MUST_USE;

struct gmm_page_info {
	enum { GMM_PAGE_FREE, GMM_PAGE_PRIVATE, GMM_PAGE_SHARED, GMM_PAGE_KERNEL } kind;
	gmm_vm_t owner;      /* PRIVATE, KERNEL */
	gfn_t gfn;           /* PRIVATE; GFN_UNKNOWN if not reported */
	uint64_t references; /* SHARED: of VMs and of Quire */
};
q_status_t gmm_page_info(page_id_t id, struct gmm_page_info *out_info) Q_MUST_USE;

/* The machine frame of a page; the id must be of an existing chunk. */
hfn_t gmm_page_frame(page_id_t id);

/*
 * A whole chunk for the VM, for one large nested mapping: all its pages become
 * private, with guest frames from `first_gfn` on (a multiple of
 * GMM_PAGES_PER_CHUNK). *out_first is its first page; the ids and frames of the
 * others follow it; is_zeroed speaks for all of them. They are freed one by one
 * as others. Q_LIMIT, Q_NO_MEMORY: also if no chunk is wholly free; Q_RANGE.
 */
q_status_t gmm_chunk_alloc(gmm_vm_t vm, gfn_t first_gfn, struct gmm_page *out_first) Q_MUST_USE;

/*
 * A page for the same VM in a better place than `from` is: in a fuller chunk, if
 * possible one of its own. Q_NOT_FOUND: there is none. The caller copies, makes
 * every translation lead to the new page, and frees `from`; until then the VM
 * has one page more, so also Q_LIMIT, and Q_NO_MEMORY if all is claimed: here
 * the VM needs no turn. Else as gmm_pages_free().
 */
q_status_t gmm_page_move_alloc(gmm_vm_t vm, page_id_t from, struct gmm_page *out_page) Q_MUST_USE;

/*
 * The PRIVATE chunk that is the `rank`-th emptiest, roughly, if the others have
 * room for its pages: once all of them moved, it is a chunk for whoever needs a
 * whole one. False: there are not so many.
 */
bool gmm_move_source(unsigned rank, page_id_t *out_first);

/*
 * "So many pages up front, or refuse": the VM's next `count` private pages
 * cannot fail. Each page allocated counts it down, and what the VM frees is set
 * aside besides, so that it can exchange what it has; gmm_set_aside_end() gives up
 * what is left, and so does a second call. Q_LIMIT, Q_NO_MEMORY: nothing changed.
 */
q_status_t gmm_set_aside(gmm_vm_t vm, uint64_t count) Q_MUST_USE;
void gmm_set_aside_end(gmm_vm_t vm);

/* --- shared pages: read-only, with a count of references, owned by nobody ----- */

/*
 * So many unclaimed pages are kept from VMs that are beyond their guarantees
 * and what is set aside for them: promises, old and new, come first.
 * What merging needs first is a chunk of its own: if VMs may take the last page,
 * memory that is full of equal pages stays full. At first 0.
 */
void gmm_shared_keep(uint64_t page_count);
/* A shared page with one reference, GMM_VM_QUIRE's. Contents: as gmm_pages_alloc(). Q_NO_MEMORY. */
q_status_t gmm_shared_alloc(struct gmm_page *out_page) Q_MUST_USE;

/*
 * The VM exchanges its private page for a reference to `shared`, in one step;
 * the private page is freed. As gmm_pages_free() and gmm_shared_get(); on failure
 * nothing changed.
 */
q_status_t gmm_shared_replace(gmm_vm_t vm, page_id_t private_page, page_id_t shared) Q_MUST_USE;

/*
 * One more reference for the VM, charged to BASE, or for GMM_VM_QUIRE, which
 * nobody is charged for. Q_LIMIT: the VM's promise or the counter is used up;
 * Q_DENIED: the VM is bound; Q_NOT_FOUND, Q_STATE: not a shared page.
 */
q_status_t gmm_shared_get(gmm_vm_t vm, page_id_t shared) Q_MUST_USE;

/*
 * Drops one reference of the VM (or of GMM_VM_QUIRE) for each id, in order. The
 * last one frees the page. Stops at the first error (Q_NOT_FOUND, Q_STATE: not a
 * shared page, Q_NOT_OWNER: no such reference); *out_done says how many were
 * dropped. No translation of the VM to them may exist any more.
 */
q_status_t gmm_shared_put(gmm_vm_t vm, const page_id_t *ids, unsigned count,
			  unsigned *out_done) Q_MUST_USE;

/* --- the balloon: pages of its promise that the guest gave up for now ---------- */

/* `count` pages fewer for the VM. Its pages are freed by other calls, before. Q_LIMIT: not so many. */
q_status_t gmm_balloon_inflate(gmm_vm_t vm, uint64_t count) Q_MUST_USE;

/* `count` pages more, or all again. Q_STATE: not so many are ballooned. */
q_status_t gmm_balloon_deflate(gmm_vm_t vm, uint64_t count) Q_MUST_USE;
void gmm_balloon_reset(gmm_vm_t vm);

/* --- VMs that wait for memory -------------------------------------------------- */

/*
 * From here until gmm_wait_end() the VM waits: by priority, then by who began
 * first. What no reservation claims is for the first waiter and for running VMs
 * of a higher priority alone; all others are refused it, so that those who still
 * run cannot starve one who waits. A VM inside its reservation is never refused.
 * Again: the VM keeps its place.
 */
void gmm_wait_begin(gmm_vm_t vm);
/* The VM runs again, or wants no memory any more; nothing if it does not wait. */
void gmm_wait_end(gmm_vm_t vm);
/* Whose turn it is; GMM_VM_QUIRE: nobody waits. */
gmm_vm_t gmm_wait_first(void);

/* --- what a machine address is ------------------------------------------------ */

enum gmm_memory {
	GMM_MEMORY_NONE,   /* not managed here: Quire's image, modules, devices, nothing */
	GMM_MEMORY_FREE,   /* of a chunk that is with the machine */
	GMM_MEMORY_GUEST,  /* of a PRIVATE, BOUND or SHARED chunk */
	GMM_MEMORY_KERNEL, /* of a KERNEL chunk */
};
enum gmm_memory gmm_memory_at(hpa_t addr);

/* --- kernel pages: nested tables, records, heap; permanently mapped ---------- */

/* One zeroed page, charged to the VM's SHADOW or FIXED account (QUIRE: no limit). */
q_status_t gmm_kernel_page_alloc(gmm_vm_t vm, enum gmm_account account, hpa_t *out_page) Q_MUST_USE;
void gmm_kernel_page_free(gmm_vm_t vm, enum gmm_account account, hpa_t page);

/* --- content, by page id, through the mapping cache --------------------------- */

/*
 * The page's address on this CPU, valid until the caller sleeps or yields, or
 * maps PHYSMEM_WINDOW_COUNT / 2 other pages. Never store it.
 */
void *gmm_page_map(page_id_t id);

/* As gmm_page_map(), for who owns nothing of it and only looks; NULL: there is no such page. */
const void *gmm_page_peek(page_id_t id);

void gmm_page_clear(page_id_t id);
void gmm_page_copy(page_id_t to, page_id_t from);
bool gmm_page_is_zero(page_id_t id);
bool gmm_page_is_equal(page_id_t a, page_id_t b);

struct gmm_map_stats {
	uint64_t lookaside_hits, tree_hits, misses, evictions;
};
void gmm_map_stats(struct gmm_map_stats *out_stats); /* summed over CPUs */

/* Clears up to `count` free private pages ahead; returns how many. For idle time. */
unsigned gmm_zero_ahead(unsigned count);

/* Asserts every invariant over all chunks, sets and accounts (design page in gmm.c). */
void gmm_check(void);

#endif
