/* SPDX-License-Identifier: MIT */
/* A VM's life: creation and its failures, reset, destruction. */
#include "pgm_fixture.h"

TEST(pgm_reset, is_as_at_power_on)
{
	bare_set_up(&slat_npt, MIB(4));
	struct pgm_stats fresh = stats();
	struct gmm_vm_stats gmm_fresh, gmm_after;
	gmm_vm_stats(pgm_vm(pgm), &gmm_fresh);
	for (uint64_t addr = MIB(1); addr < MIB(3); addr += PAGE_SIZE) {
		uint8_t byte = (uint8_t)(addr >> PAGE_SHIFT) | 1;
		EXPECT(pgm_write(pgm, gpa(addr), &byte, 1, NULL) == Q_OK);
	}
	write_byte(0x9f000, 1);
	write_byte(MIB(4) - 1, 1);
	EXPECT(touch(0, MEM_READ) == PGM_RESOLVED && touch(MIB(1), MEM_WRITE) == PGM_RESOLVED);
	uint64_t generation = pgm_slat_generation(pgm);
	pgm_reset(pgm);
	check();
	EXPECT(pgm_slat_generation(pgm) != generation);
	struct pgm_stats after = stats();
	after.counters = (struct pgm_counters){ 0 }; /* since creation */
	EXPECT(memcmp(&after, &fresh, sizeof(after)) == 0);
	gmm_vm_stats(pgm_vm(pgm), &gmm_after);
	EXPECT(memcmp(&gmm_after, &gmm_fresh, sizeof(gmm_after)) == 0);
	EXPECT(!nested(0).is_present && !nested(MIB(1)).is_present);
	EXPECT(read_byte(MIB(1)) == 0);
	refill();
	EXPECT(touch(MIB(1), MEM_WRITE) == PGM_RESOLVED);
	EXPECT(page_is_all(nested_byte(MIB(1)), 0));
	pgm_reset(pgm);
	pgm_reset(pgm);
	check();
}

/* A VM that is off leaves its guarantee to other VMs; on again, it has the same one. */
TEST(pgm_reset, unreserved_memory_is_there_for_others)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));
	struct gmm_stats before, after;
	struct pgm_stats off;

	machine_set_up(MIB(16));
	config.guaranteed_bytes = MIB(2);
	EXPECT(pgm_create(&config, &pgm) == Q_OK);
	gmm_stats(&before);
	pgm_unreserve(pgm);
	pgm_check(pgm);
	pgm_stats(pgm, &off);
	gmm_stats(&after);
	EXPECT(off.reserved == 0);
	EXPECT(before.reserved_pages - after.reserved_pages == 512 + 1 + PGM_HANDY_MAX);
	EXPECT(pgm_reserve(pgm) == Q_OK && pgm_reserve(pgm) == Q_OK);
	gmm_stats(&after);
	EXPECT(after.reserved_pages == before.reserved_pages);
	gmm_check();
}

TEST(pgm_destroy, returns_everything)
{
	static uint8_t image[4 * PAGE_SIZE];
	struct gmm_stats before, after;

	machine_set_up(MIB(16));
	gmm_stats(&before);
	vm_create(config_of(&slat_npt, MIB(4)));
	EXPECT(pgm_rom_add(pgm, gpa(GIB(4) - sizeof(image)), image, sizeof(image)) == Q_OK);
	write_byte(MIB(2), 1);
	EXPECT(touch(MIB(3), MEM_READ) == PGM_RESOLVED);
	pgm_destroy(pgm);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

TEST(pgm_create, failure_leaves_nothing)
{
	struct pgm_config config = config_of(&slat_npt, MIB(4));
	struct gmm_stats before, after;
	struct pgm *new = NULL;

	machine_set_up(MIB(16));
	gmm_stats(&before);
	fake_kernel_map_fail_at(1);
	EXPECT(pgm_create(&config, &new) == Q_NO_MEMORY && !new);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
	/* The machine fills up with VMs, then has room for one again. */
	struct pgm *vms[64];
	unsigned count = 0;
	config.overcommit = GMM_OVERCOMMIT_NONE;
	while (count < ARRAY_COUNT(vms) && pgm_create(&config, &vms[count]) == Q_OK)
		pgm_check(vms[count++]);
	EXPECT(count > 0 && count < 4);
	EXPECT(pgm_create(&config, &new) == Q_DECLINED && !new);
	gmm_check();
	pgm_destroy(vms[0]);
	EXPECT(pgm_create(&config, &vms[0]) == Q_OK);
	for (unsigned i = 0; i < count; i++)
		pgm_destroy(vms[i]);
	gmm_check();
	gmm_stats(&after);
	EXPECT(memcmp(&before, &after, sizeof(before)) == 0);
}

/* Memory ends at each step of a write in turn; each failure leaves the books right. */
TEST(pgm_create, out_of_memory_at_each_step)
{
	static const uint8_t byte = 0x77;

	for (uint64_t left = 0; left < 4; left++) {
		machine_set_up(MIB(16));
		vm_create(config_of(&slat_npt, MIB(4)));
		refill();
		for (unsigned i = 0; i < PGM_HANDY_MAX; i++)
			EXPECT(touch(MIB(1) + i * PAGE_SIZE, MEM_WRITE) == PGM_RESOLVED);
		gmm_vm_t hog = hog_create(left);
		for (unsigned i = 0; i < 6; i++) {
			q_status_t status = pgm_write(pgm, gpa(i * PAGE_SIZE), &byte, 1, NULL);
			EXPECT(status == (i < left ? Q_OK : Q_NO_MEMORY));
			check();
		}
		EXPECT(touch(0x10000, MEM_WRITE) == PGM_NO_MEMORY);
		pgm_reset(pgm);
		check();
		write_byte(0, byte);
		gmm_vm_destroy(hog);
		for (unsigned i = 0; i < 6; i++)
			write_byte(i * PAGE_SIZE, byte);
		refill();
		EXPECT(touch(0x10000, MEM_WRITE) == PGM_RESOLVED);
	}
}
