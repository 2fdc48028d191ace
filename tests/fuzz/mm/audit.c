/* SPDX-License-Identifier: MIT */
/* The audits: all books, and each page against the model. */
#include "mm_model.h"

#include <string.h>

#include "mm/share/share.h"

static void audit_vm(const struct vm *vm)
{
	struct pgm_stats stats;

	pgm_check(vm->pgm);
	pgm_stats(vm->pgm, &stats);
	unsigned ahead = ahead_count(vm);
	CHECK(stats.private_pages == vm->private_pages + ahead);
	CHECK(stats.handy + ahead == vm->handy && ahead <= stats.ahead);
	CHECK(stats.shared == vm->shared_pages && stats.ballooned == vm->ballooned_pages);
	CHECK(stats.zero + stats.private_pages + stats.shared + stats.ballooned == stats.pages);
	CHECK(stats.rom == vm->rom_end - vm->rom_start);
	CHECK(stats.rom_shadow == vm->rom_shadow_pages);
	for (uint64_t frame = 0; frame < FRAME_COUNT; frame++) {
		if (!is_memory(vm, frame))
			continue;
		struct pgm_record record = *pgm_record_find(vm->pgm, gfn(frame));
		if (is_device(vm, frame))
			continue;
		if (!reads_rom(vm, frame))
			CHECK(pgm_record_state(record) == state_of(vm, frame));
		if (page_id_is_nil(pgm_record_id(record))) {
			/* pgm_check() saw that the zero page is all zero. */
			CHECK(tag_read(vm, frame) == 0);
			continue;
		}
		hpa_t page = hfn_to_hpa(pgm_record_frame(record));
		uint64_t *tag = fake_ram_peek(hpa_add(page, TAG_OFFSET));
		CHECK(*tag == tag_read(vm, frame));
	}
}

/* GMM's count of references to shared pages is the sum of those of all VMs. */
static void audit_shared(void)
{
	struct gmm_stats stats;
	uint64_t references = 0;

	gmm_stats(&stats);
	for (unsigned i = 0; i < VM_COUNT; i++) {
		struct gmm_vm_stats vm;
		if (!vms[i].pgm)
			continue;
		gmm_vm_stats(pgm_vm(vms[i].pgm), &vm);
		references += vm.shared_pages;
	}
	CHECK(stats.shared_references == references);
}

void audit(void)
{
	audit_shared();
	share_check();
	for (unsigned i = 0; i < VM_COUNT; i++)
		if (vms[i].pgm)
			audit_vm(&vms[i]);
	gmm_check();
	figures.audits++;
}

void audit_page(const struct vm *vm, uint64_t frame)
{
	static uint8_t page[PAGE_SIZE], expected[PAGE_SIZE];
	uint64_t tag = tag_read(vm, frame);

	memset(expected, 0, sizeof(expected));
	memcpy(expected + TAG_OFFSET, &tag, sizeof(tag));
	CHECK(pgm_handler_read(vm->pgm, gpa(frame << PAGE_SHIFT), page, sizeof(page), NULL) ==
	      Q_OK);
	CHECK(memcmp(page, expected, sizeof(page)) == 0);
}
