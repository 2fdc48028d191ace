/* SPDX-License-Identifier: MIT */
/*
 * The Linux loader: refuses the claims of a damaged kernel, and loads a good one into the memory
 * of a VM over fake RAM, at the smallest cost.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/pgm/pgm.h"
#include "seam/seam.h"
#include "test.h"

#include "lib/error_text.h"
#include "vm/load/linux.h"

#define GUEST_BYTES (64ull << 20)

static struct error_text error;

static void *exact_copy(const void *data, size_t size_bytes)
{
	void *copy = malloc(size_bytes ? size_bytes : 1);
	assert_non_null(copy);
	memcpy(copy, data, size_bytes);
	return copy;
}

/* --- the image -------------------------------------------------------------------------------- */

#define SETUP_BYTES  1024u /* setup_sects 1 */
#define CODE_BYTES   0x13010u
#define KERNEL_BYTES (SETUP_BYTES + CODE_BYTES)
#define PREF_ADDRESS 0x1000000ull
#define INIT_BYTES   0x300000u

static uint8_t image[KERNEL_BYTES];

static void image_put(unsigned offset, uint64_t value, unsigned size_bytes)
{
	memcpy(image + offset, &value, size_bytes);
}

/* A kernel that no CPU could run, but with a header like a real one. */
static void image_make(void)
{
	memset(image, 0, sizeof(image));
	for (unsigned i = SETUP_BYTES; i < KERNEL_BYTES; i++)
		image[i] = (uint8_t)(i * 13 + i / 256);
	/* Two pages of zeros: the second and third of the kernel. */
	memset(image + SETUP_BYTES + 4096, 0, 2 * 4096);
	image_put(0x1f1, 1, 1);
	image_put(0x1f4, CODE_BYTES / 16, 4);
	image_put(0x1fe, 0xaa55, 2);
	image_put(0x200, 0x6aeb, 2);
	memcpy(image + 0x202, "HdrS", 4);
	image_put(0x206, 0x020f, 2);
	image_put(0x211, 1, 1);
	image_put(0x22c, 0x7fffffff, 4);
	image_put(0x230, 0x200000, 4);
	image_put(0x234, 1, 1);
	image_put(0x236, 3, 2);
	image_put(0x238, 2047, 4);
	image_put(0x258, PREF_ADDRESS, 8);
	image_put(0x260, INIT_BYTES, 4);
}

/* Checks the first bytes of the image, for a guest into which all of it would fit. */
static q_status_t check_bytes(size_t size_bytes)
{
	uint8_t *copy = exact_copy(image, size_bytes);
	struct module kernel = { .name = "k", .data = copy, .size_bytes = size_bytes };
	struct linux_request request = { .kernel = &kernel,
					 .cmdline = "",
					 .ram_bytes = GUEST_BYTES };
	q_status_t status = linux_fit(&request, &error);
	free(copy);
	return status;
}

static void expect_kernel_refused(q_status_t status, const char *message)
{
	q_status_t got = check_bytes(sizeof(image));
	if (got != status || strstr(error.text, message) == NULL)
		fail_msg("status %d, '%s', not '%s'", got, error.text, message);
}

TEST(loader, a_good_image_is_accepted)
{
	image_make();
	EXPECT(check_bytes(sizeof(image)) == Q_OK);
	/* The last paragraph may be short. */
	EXPECT(check_bytes(sizeof(image) - 15) == Q_OK);
	EXPECT(check_bytes(sizeof(image) - 16) == Q_INVALID);
}

TEST(loader, every_truncation_is_refused)
{
	image_make();
	for (size_t size = 0; size < sizeof(image) - 16; size += size < 2048 ? 1 : 997)
		EXPECT(check_bytes(size) == Q_INVALID);
}

TEST(loader, lies_of_the_header_are_refused)
{
	static const struct {
		unsigned offset;
		uint64_t value;
		unsigned size_bytes;
		q_status_t status;
		const char *message;
	} lies[] = {
		{ 0x1fe, 0xaa54, 2, Q_INVALID, "no Linux bzImage" },
		{ 0x202, 0, 1, Q_INVALID, "no Linux bzImage" },
		{ 0x206, 0x020b, 2, Q_UNSUPPORTED, "older than 2.12" },
		{ 0x236, 2, 2, Q_UNSUPPORTED, "no 64-bit entry" },
		{ 0x211, 0, 1, Q_UNSUPPORTED, "not a bzImage" },
		{ 0x1f1, 255, 1, Q_INVALID, "before the kernel starts" },
		{ 0x201, 0x61, 1, Q_INVALID, "header's length" },
		{ 0x1f4, 0, 4, Q_INVALID, "kernel's size" },
		{ 0x1f4, 0x20, 4, Q_INVALID, "kernel's size" },
		{ 0x1f4, CODE_BYTES / 16 + 1, 4, Q_INVALID, "truncated" },
		{ 0x1f4, 0xffffffff, 4, Q_INVALID, "truncated" },
		{ 0x260, CODE_BYTES - 1, 4, Q_INVALID, "init_size" },
		{ 0x230, 0, 4, Q_INVALID, "kernel_alignment" },
		{ 0x230, 0x300000, 4, Q_INVALID, "kernel_alignment" },
		{ 0x230, 0x800, 4, Q_INVALID, "kernel_alignment" },
	};
	for (size_t i = 0; i < ARRAY_COUNT(lies); i++) {
		image_make();
		image_put(lies[i].offset, lies[i].value, lies[i].size_bytes);
		if (lies[i].offset == 0x1f1) /* 128 KiB of setup in a smaller file */
			EXPECT(check_bytes(70000) == Q_INVALID);
		else
			expect_kernel_refused(lies[i].status, lies[i].message);
	}
}

/* A kernel that cannot be moved must prefer a page at or above 1 MiB. */
TEST(loader, a_kernel_that_cannot_be_moved_has_its_place)
{
	static const struct {
		uint64_t address;
		bool is_possible;
	} places[] = { { 0x8000, false },          { 0xff000, false }, { 0x100000, true },
		       { 0x100800, false },        { 0x123000, true }, { PREF_ADDRESS, true },
		       { PREF_ADDRESS + 1, false } };
	for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
		image_make();
		image_put(0x234, 0, 1);
		image_put(0x230, 0, 4); /* its alignment does not matter */
		image_put(0x258, places[i].address, 8);
		if (places[i].is_possible)
			EXPECT(check_bytes(sizeof(image)) == Q_OK);
		else
			expect_kernel_refused(Q_INVALID, "pref_address");
	}
}

/* In the header of an old kernel 0 means four setup sectors. */
TEST(loader, no_setup_sectors_are_four)
{
	image_make();
	image_put(0x1f1, 0, 1);
	image_put(0x1f4, (CODE_BYTES - 3 * 512) / 16, 4);
	EXPECT(check_bytes(sizeof(image)) == Q_OK);
	image_put(0x1f4, (CODE_BYTES - 3 * 512) / 16 + 1, 4);
	expect_kernel_refused(Q_INVALID, "truncated");
}

/* --- loading, into a VM over fake RAM --------------------------------------------------------- */

#define MACHINE_BYTES (64ull << 20)
#define INITRD_BYTES  5000u

static struct pgm *pgm;
static void *gmm_metadata;

static void guest_create(uint64_t guaranteed_bytes)
{
	fake_ram_create(MACHINE_BYTES);
	struct gmm_region region = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + MACHINE_BYTES) };
	uint64_t metadata_bytes = pages_from_bytes(gmm_metadata_size(&region, 1)) << PAGE_SHIFT;
	gmm_metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	assert_non_null(gmm_metadata);
	memset(gmm_metadata, 0, metadata_bytes);
	assert_int_equal(gmm_init(&region, 1, gmm_metadata), Q_OK);
	struct pgm_config pgm_config = { .format = &slat_npt,
					 .ram_bytes = GUEST_BYTES,
					 .guaranteed_bytes = guaranteed_bytes,
					 .overcommit = GMM_OVERCOMMIT_FULL };
	assert_int_equal(pgm_create(&pgm_config, &pgm), Q_OK);
}

static void guest_destroy(void)
{
	pgm_destroy(pgm);
	fake_ram_destroy();
	free(gmm_metadata);
}

static uint64_t guest_number(uint64_t from, unsigned size_bytes)
{
	uint64_t value = 0;
	assert_int_equal(pgm_read(pgm, gpa(from), &value, size_bytes, NULL), Q_OK);
	return value;
}

static void expect_guest_bytes(uint64_t from, const void *want, size_t size_bytes)
{
	void *got = malloc(size_bytes);
	assert_non_null(got);
	assert_int_equal(pgm_read(pgm, gpa(from), got, size_bytes, NULL), Q_OK);
	assert_memory_equal(got, want, size_bytes);
	free(got);
}

struct loaded {
	struct guest_state state;
	struct guest_regs regs;
};

static q_status_t load(const char *cmdline, size_t initrd_bytes, uint64_t ram_bytes,
		       struct loaded *out)
{
	uint8_t *initrd_data = malloc(initrd_bytes ? initrd_bytes : 1);
	assert_non_null(initrd_data);
	memset(initrd_data, 0x5a, initrd_bytes);
	struct module kernel = { .name = "k", .data = image, .size_bytes = sizeof(image) };
	struct module initrd = { .name = "i", .data = initrd_data, .size_bytes = initrd_bytes };
	struct linux_request request = { .kernel = &kernel,
					 .initrd = initrd_bytes ? &initrd : NULL,
					 .cmdline = cmdline,
					 .ram_bytes = ram_bytes,
					 .rsdp = gpa(0xe0010) };
	/* linux_fit() refuses the same in the same words, except for memory that runs out later. */
	struct error_text fit_error = { "" };
	q_status_t fit = linux_fit(&request, &fit_error);
	error.text[0] = 0;
	q_status_t status = linux_load(pgm, &request, &out->state, &out->regs, &error);
	EXPECT(status == Q_NO_MEMORY ? fit == Q_OK
				     : fit == status && strcmp(fit_error.text, error.text) == 0);
	free(initrd_data);
	return status;
}

static void expect_e820(unsigned index, uint64_t start, uint64_t end, uint32_t type)
{
	uint64_t at = 0x1000 + 0x2d0 + 20ull * index;
	assert_int_equal(guest_number(at, 8), start);
	assert_int_equal(guest_number(at + 8, 8), end - start);
	assert_int_equal(guest_number(at + 16, 4), type);
}

/* Walks the page tables like the CPU. */
static uint64_t identity_walk(uint64_t cr3, uint64_t virt)
{
	uint64_t pml4e = guest_number(cr3 + (virt >> 39) * 8, 8);
	EXPECT((pml4e & 0xfff) == 3);
	uint64_t pdpte = guest_number((pml4e & ~0xfffull) + ((virt >> 30) & 511) * 8, 8);
	EXPECT((pdpte & 0xfff) == 3);
	uint64_t pde = guest_number((pdpte & ~0xfffull) + ((virt >> 21) & 511) * 8, 8);
	EXPECT((pde & 0xfff) == 0x83);
	return (pde & ~0xfffull) | (virt & 0x1fffff);
}

TEST(loader, kernel_initrd_and_boot_params_arrive)
{
	struct loaded loaded;
	uint8_t initrd[INITRD_BYTES];
	memset(initrd, 0x5a, sizeof(initrd));
	image_make();
	guest_create(GUEST_BYTES / 4);
	assert_int_equal(load("console=ttyS0", INITRD_BYTES, GUEST_BYTES, &loaded), Q_OK);

	uint64_t initrd_start = GUEST_BYTES - 8192;
	expect_guest_bytes(PREF_ADDRESS, image + SETUP_BYTES, CODE_BYTES);
	expect_guest_bytes(initrd_start, initrd, sizeof(initrd));
	uint64_t params = loaded.regs.gpr[GPR_RSI];
	EXPECT(params == 0x1000);
	EXPECT(guest_number(params + 0x202, 4) == 0x53726448);
	EXPECT(guest_number(params + 0x210, 1) == 0xff);
	EXPECT(guest_number(params + 0x218, 4) == initrd_start);
	EXPECT(guest_number(params + 0x21c, 4) == INITRD_BYTES);
	EXPECT(guest_number(params + 0x070, 8) == 0xe0010);
	EXPECT(guest_number(params + 0x260, 4) == INIT_BYTES);
	expect_guest_bytes(guest_number(params + 0x228, 4), "console=ttyS0", 14);

	EXPECT(guest_number(params + 0x1e8, 1) == 4);
	expect_e820(0, 0, 0x9fc00, 1);
	expect_e820(1, 0x9fc00, 0xa0000, 2);
	expect_e820(2, 0xe0000, 0x100000, 2);
	expect_e820(3, 0x100000, GUEST_BYTES, 1);
	guest_destroy();
}

TEST(loader, the_first_vcpu_starts_in_long_mode)
{
	struct loaded loaded;
	image_make();
	guest_create(GUEST_BYTES / 4);
	assert_int_equal(load("", 0, GUEST_BYTES, &loaded), Q_OK);
	const struct guest_state *first = &loaded.state;
	EXPECT(loaded.regs.rip == PREF_ADDRESS + 0x200 && loaded.regs.rflags == RFLAGS_FIXED);
	EXPECT((first->cr0 & (CR0_PE | CR0_PG)) == (CR0_PE | CR0_PG) && (first->cr4 & CR4_PAE));
	EXPECT(first->efer == (EFER_LME | EFER_LMA));
	EXPECT(first->segment[SEG_CS].selector == 0x10 && first->segment[SEG_DS].selector == 0x18);
	EXPECT(first->segment[SEG_CS].attributes == 0xa09b);
	EXPECT(first->segment[SEG_SS].attributes == 0xc093);
	EXPECT(guest_number(first->gdtr.base + 0x10, 8) == 0x00af9b000000ffff);
	EXPECT(guest_number(first->gdtr.base + 0x18, 8) == 0x00cf93000000ffff);
	EXPECT(identity_walk(first->cr3, 0x1000) == 0x1000);
	EXPECT(identity_walk(first->cr3, loaded.regs.rip) == loaded.regs.rip);
	EXPECT(identity_walk(first->cr3, PREF_ADDRESS + INIT_BYTES) == PREF_ADDRESS + INIT_BYTES);
	guest_destroy();
}

/* 20 pages of kernel, two of them zeros; boot_params; the command line; three pages of tables. */
TEST(loader, zeros_and_page_tables_cost_little_memory)
{
	struct loaded loaded;
	struct pgm_stats stats;
	image_make();
	guest_create(GUEST_BYTES / 4);
	assert_int_equal(load("", 0, GUEST_BYTES, &loaded), Q_OK);
	pgm_stats(pgm, &stats);
	EXPECT(stats.private_pages == 18 + 2 + 3);
	pgm_check(pgm);
	guest_destroy();
}

/* More than GMM guarantees to a VM that asks for no guarantee. */
#define LOAD_INITRD_PAGES 300u

static q_status_t load_with(uint64_t pages_left)
{
	struct loaded loaded;
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	struct gmm_page page;
	gmm_vm_t hog;
	guest_create(0);
	EXPECT(gmm_vm_create(&config, &hog) == Q_OK);
	while (gmm_pages_available(hog, pages_left + 1) > pages_left)
		EXPECT(gmm_pages_alloc(hog, &page, 1) == Q_OK);
	q_status_t status = load("", LOAD_INITRD_PAGES * PAGE_SIZE, GUEST_BYTES, &loaded);
	pgm_check(pgm);
	guest_destroy();
	return status;
}

TEST(loader, without_memory_loading_fails_at_any_page)
{
	unsigned failures = 0;
	image_make();
	for (q_status_t status; (status = load_with(24 * failures)) != Q_OK; failures++) {
		EXPECT(status == Q_NO_MEMORY);
		EXPECT(strcmp(error.text, "kernel 'k': guest memory: out of memory") == 0);
	}
	EXPECT(failures > 4 && failures <= LOAD_INITRD_PAGES / 24);
}

TEST(loader, memory_above_the_hole_is_in_the_map)
{
	struct loaded loaded;
	image_make();
	guest_create(0);
	/* Only the request says so; the VM of this test is smaller. */
	EXPECT(load("", 0, PGM_RAM_HOLE_START + (1ull << 20), &loaded) == Q_OK);
	EXPECT(guest_number(0x1000 + 0x1e8, 1) == 5);
	expect_e820(3, 0x100000, PGM_RAM_HOLE_START, 1);
	expect_e820(4, 1ull << 32, (1ull << 32) + (1ull << 20), 1);
	EXPECT(load("", 0, PGM_RAM_HOLE_START, &loaded) == Q_OK);
	EXPECT(guest_number(0x1000 + 0x1e8, 1) == 4);
	guest_destroy();
}

TEST(loader, zeros_within_a_page_are_written)
{
	struct loaded loaded;
	struct pgm_stats stats;
	image_make();
	/* The last byte of the second page of the kernel, and the first of its fourth. */
	image[SETUP_BYTES + 2 * 4096 - 1] = 0x77;
	image[SETUP_BYTES + 3 * 4096] = 0x78;
	guest_create(0);
	assert_int_equal(load("", 0, GUEST_BYTES, &loaded), Q_OK);
	expect_guest_bytes(PREF_ADDRESS, image + SETUP_BYTES, CODE_BYTES);
	pgm_stats(pgm, &stats);
	EXPECT(stats.private_pages == 19 + 2 + 3);
	guest_destroy();
}

TEST(loader, a_kernel_without_a_good_address_goes_to_16_mib)
{
	struct loaded loaded;
	image_make();
	image_put(0x258, 0x12345, 8);
	guest_create(GUEST_BYTES / 4);
	assert_int_equal(load("", 0, GUEST_BYTES, &loaded), Q_OK);
	EXPECT(loaded.regs.rip == 0x1000200);
	guest_destroy();
}

TEST(loader, too_little_memory_is_said_before_anything_is_written)
{
	struct loaded loaded;
	struct pgm_stats stats;
	char long_line[2100];
	image_make();
	guest_create(GUEST_BYTES / 4);

	EXPECT(load("", 0, 22 << 20, &loaded) == Q_RANGE);
	EXPECT(strcmp(error.text, "kernel 'k' needs at least 23M of memory, the VM has 22M") == 0);
	EXPECT(load("", 42 << 20, GUEST_BYTES, &loaded) == Q_RANGE);
	EXPECT(strcmp(error.text, "kernel 'k' needs at least 65M of memory, the VM has 64M") == 0);

	image_put(0x22c, PREF_ADDRESS + INIT_BYTES + 4095, 4);
	EXPECT(load("", 4097, GUEST_BYTES, &loaded) == Q_RANGE);
	EXPECT(strcmp(error.text, "initrd 'i' does not fit between the kernel and 19M") == 0);
	/* It would fit, but not at the start of a page. */
	image_put(0x260, INIT_BYTES + 16, 4);
	image_put(0x22c, PREF_ADDRESS + INIT_BYTES + 16 + 4095, 4);
	EXPECT(load("", 4096, GUEST_BYTES, &loaded) == Q_RANGE);
	image_make();
	image_put(0x260, 0xffffffff, 4);
	EXPECT(load("", 0, GUEST_BYTES, &loaded) == Q_RANGE);
	image_make();
	image_put(0x258, 0xffffffffffe00000, 8);
	EXPECT(load("", 0, GUEST_BYTES, &loaded) == Q_RANGE);
	EXPECT(strcmp(error.text, "kernel 'k' and its initrd do not fit below 3G") == 0);

	image_make();
	memset(long_line, 'x', sizeof(long_line));
	long_line[2048] = 0;
	EXPECT(load(long_line, 0, GUEST_BYTES, &loaded) == Q_RANGE);
	image_put(0x238, 10, 4);
	EXPECT(load("12345678901", 0, GUEST_BYTES, &loaded) == Q_RANGE);
	EXPECT(strcmp(error.text, "kernel 'k' takes command lines of at most 10 bytes") == 0);

	pgm_stats(pgm, &stats);
	EXPECT(stats.private_pages == 0);
	guest_destroy();
}
