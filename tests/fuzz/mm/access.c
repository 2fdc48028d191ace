/* SPDX-License-Identifier: MIT */
/* Accesses: the guest's, through its vCPUs' TLBs, and those of the hypervisor. */
#include "mm_model.h"

#include <string.h>

/* --- the guest's ------------------------------------------------------------------------------ */

static struct nested_result translate(const struct vm *vm, uint64_t frame)
{
	uint64_t root = pgm_slat_root(vm->pgm).raw, addr = frame << PAGE_SHIFT;
	struct nested_result result =
		vm->format == &slat_npt ? nested_walk_npt(root, addr) : nested_walk_ept(root, addr);
	CHECK(!result.is_malformed);
	/* Only a VM with a right to all its memory gets whole chunks. */
	CHECK(!result.is_large || vm->overcommit == GMM_OVERCOMMIT_NONE);
	return result;
}

static bool allows(const struct nested_result *translation, enum mem_access access)
{
	if (!translation->is_present)
		return false;
	switch (access) {
	case MEM_READ: return translation->can_read;
	case MEM_WRITE: return translation->can_write;
	case MEM_EXEC: return translation->can_execute;
	}
	return false;
}

/* True if the vCPU has cached a translation for the access. It must still be right. */
static bool tlb_hit(const struct vm *vm, const struct vcpu *vcpu, uint64_t frame,
		    enum mem_access access)
{
	const struct tlb_entry *entry = &vcpu->tlb[frame];

	if (entry->generation != vcpu->generation || !allows(&entry->translation, access))
		return false;
	struct nested_result now = translate(vm, frame);
	CHECK(now.is_present && now.machine == entry->translation.machine);
	CHECK(now.can_write == entry->translation.can_write);
	return true;
}

/* The CPU notes a write. The first write to a page handed out ahead causes no fault. */
static void guest_dirty(struct vm *vm, uint64_t frame, struct tlb_entry *entry)
{
	if (is_ahead(vm, frame)) {
		model_use(vm, frame);
		figures.ahead_used++;
	}
	if (!entry->is_dirty && vm->pgm->has_dirty_bits)
		nested_dirty_set(pgm_slat_root(vm->pgm).raw, frame << PAGE_SHIFT,
				 vm->format == &slat_ept);
	entry->is_dirty = true;
}

/* Enters the guest, which accesses one page. True: it reached the page at *out_machine. */
static bool guest_access(struct vm *vm, uint64_t frame, enum mem_access access,
			 uint64_t *out_machine)
{
	struct vcpu *vcpu = &vm->vcpus[below(VCPU_COUNT)];
	struct pgm_fault fault = { .addr = gpa(tag_address(frame)), .access = access };
	bool is_write = access == MEM_WRITE && takes_writes(vm, frame);

	for (;;) {
		vcpu->generation = pgm_slat_generation(vm->pgm);
		if (frame < FRAME_COUNT) {
			struct tlb_entry *entry = &vcpu->tlb[frame];
			if (!tlb_hit(vm, vcpu, frame, access))
				*entry = (struct tlb_entry){ .generation = vcpu->generation,
							     .translation = translate(vm, frame) };
			if (allows(&entry->translation, access)) {
				*out_machine = entry->translation.machine;
				if (access == MEM_WRITE)
					guest_dirty(vm, frame, entry);
				return true;
			}
		}
		enum pgm_outcome outcome = pgm_fault_handle(vm->pgm, &fault);
		enum pgm_outcome expected = expected_outcome(vm, frame, access);
		CHECK(outcome == expected);
		if (is_write && expected != PGM_NO_MEMORY)
			model_back(vm, frame);
		if (expected == PGM_HANDLER)
			CHECK(fault.handler_tag == vm->handlers[frame]);
		if (expected != PGM_RESOLVED)
			return false;
		CHECK(allows((struct nested_result[]){ translate(vm, frame) }, access));
	}
}

void guest_read(struct vm *vm, uint64_t frame, enum mem_access access)
{
	uint64_t machine;

	if (!guest_access(vm, frame, access, &machine))
		return;
	uint64_t *tag = fake_ram_peek(hpa(machine + TAG_OFFSET));
	CHECK(*tag == tag_read(vm, frame));
}

void guest_write(struct vm *vm, uint64_t frame)
{
	uint64_t machine;

	if (!guest_access(vm, frame, MEM_WRITE, &machine))
		return;
	CHECK(takes_writes(vm, frame) && !reads_rom(vm, frame));
	audit_page(vm, frame); /* above all, a new page must be all zero */
	uint64_t tag = tag_random();
	tag_write(vm, frame, tag);
	memcpy(fake_ram_peek(hpa(machine + TAG_OFFSET)), &tag, sizeof(tag));
}

void guest_run(struct vm *vm)
{
	uint64_t frame = below(vm->frame_end), step = below(2) ? 1 : ~0ull;
	uint64_t count = below(80);

	for (; count > 0 && frame < vm->frame_end; count--, frame += step)
		if (below(16))
			guest_write(vm, frame);
		else
			guest_read(vm, frame, MEM_READ);
}

/* --- the hypervisor's ------------------------------------------------------------------------- */

void host_read(struct vm *vm, uint64_t frame)
{
	uint64_t word = 0, done = 99;
	q_status_t status = pgm_read(vm->pgm, gpa(tag_address(frame)), &word, sizeof(word), &done);

	if (!is_memory(vm, frame)) {
		CHECK(status == Q_RANGE && done == 0);
		return;
	}
	if (is_handled(vm, frame, MEM_READ))
		CHECK(status == Q_HANDLER && done == 0);
	else
		CHECK(status == Q_OK && done == sizeof(word) && word == tag_read(vm, frame));
	audit_page(vm, frame);
}

/* The pages that a host write, which goes page by page, may use. */
struct supply {
	unsigned stock;     /* ready, not handed out ahead */
	unsigned available; /* what a refill can get */
	bool was_ahead[3];  /* each page, before the write */
};

/* Follows a host write to one page, which may refill the stock. Returns what PGM must return. */
static q_status_t model_host_write(struct vm *vm, uint64_t frame, struct supply *supply,
				   bool was_ahead, bool is_behind)
{
	if (!is_behind && is_memory(vm, frame) && is_handled(vm, frame, MEM_WRITE))
		return Q_HANDLER;
	if (!takes_writes(vm, frame))
		return Q_RANGE;
	if (needs_page(vm, frame)) {
		/* A page that was ahead and was taken back needs no refill: there was one just now. */
		if (!was_ahead && supply->stock <= PGM_HANDY_SYNC) {
			/* vm->handy already includes the pages that the refill takes back. */
			unsigned want = PGM_HANDY_MAX - vm->handy;
			vm->handy += supply->available < want ? supply->available : want;
			supply->available = 0;
			supply->stock = vm->handy;
		}
		if (vm->handy == 0)
			return Q_NO_MEMORY;
		supply->stock -= !was_ahead && supply->stock > 0;
	}
	model_back(vm, frame);
	return Q_OK;
}

void host_write(struct vm *vm, uint64_t frame)
{
	static uint8_t bytes[3 * PAGE_SIZE];
	uint64_t count = 1 + below(3), end_frame = frame + count;
	uint64_t start = tag_address(frame), end = tag_address(end_frame - 1) + sizeof(uint64_t);
	struct supply supply = { .stock = vm->handy - ahead_count(vm) };
	uint64_t tags[3], expected_done = 0, done = 0;
	q_status_t expected = Q_OK;
	bool is_behind = below(2);

	bool may_refill = supply.stock < PGM_HANDY_SYNC + 3;
	if (may_refill)
		supply.available = model_refill(vm);
	/* Not modelled: a refill between two pages may get the page that the first one shared. */
	for (uint64_t i = frame; i < end_frame && i < FRAME_COUNT; i++)
		if (vm->states[i] == PGM_STATE_SHARED && may_refill &&
		    supply.available < PGM_HANDY_MAX)
			return;
	for (uint64_t i = 0; i < count; i++)
		supply.was_ahead[i] = is_ahead(vm, frame + i);
	memset(bytes, 0, sizeof(bytes));
	for (uint64_t i = 0; i < count; i++) {
		tags[i] = tag_random();
		memcpy(bytes + (tag_address(frame + i) - start), &tags[i], sizeof(uint64_t));
	}
	q_status_t status =
		is_behind ? pgm_handler_write(vm->pgm, gpa(start), bytes, end - start, &done)
			  : pgm_write(vm->pgm, gpa(start), bytes, end - start, &done);
	for (uint64_t i = 0; i < count && expected == Q_OK; i++) {
		uint64_t page_end = (frame + i + 1) << PAGE_SHIFT;
		expected = model_host_write(vm, frame + i, &supply, supply.was_ahead[i], is_behind);
		if (expected != Q_OK)
			break;
		tag_write(vm, frame + i, tags[i]);
		expected_done = (page_end < end ? page_end : end) - start;
	}
	CHECK(status == expected && done == expected_done);
}
