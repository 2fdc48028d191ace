/* SPDX-License-Identifier: MIT */
/*
 * The Linux loader. It plans where everything goes, then writes it: the plan is complete, and
 * known to fit, before the first byte is written. linux_image.c judges the image itself.
 *
 * The guest's memory after loading (Linux kernel documentation, "The Linux/x86 Boot Protocol",
 * section "64-bit Boot Protocol", and "Zero Page"):
 *
 *      0x1000  boot_params, the "zero page"
 *      0x2000  command line; GDT at the page's end
 *      0x3000  PML4, PDPT and one page directory per GiB: identity mapping
 *    >= 1 MiB  kernel, at the address that it prefers; init_size bytes are its own
 *        high  initrd, as high as the kernel allows
 *
 * Memory is scarce. So a page that would get only zeros stays the zero page, and the page tables
 * cover no more than what was loaded, because the kernel builds its own at once.
 */
#include "vm/load/linux.h"

#include <quire/bits.h>
#include <quire/x86_state.h>

#include "lib/error_text.h"

#include "linux_internal.h"

/* --- fields of boot_params outside the header ------------------------------------------------- */

#define PARAMS_RSDP         0x070u
#define PARAMS_E820_ENTRIES 0x1e8u
#define PARAMS_HEADER_END   0x290u /* other fields begin here */
#define PARAMS_E820_TABLE   0x2d0u
#define E820_RAM            1u
#define E820_RESERVED       2u

/* --- where things are in guest memory --------------------------------------------------------- */

#define LOADER_UNDEFINED 0xffu         /* type_of_loader */
#define INITRD_LIMIT     0x80000000ull /* exclusive; older kernels fail above */
#define BOOT_PARAMS      0x1000ull
#define CMDLINE          0x2000ull
#define CMDLINE_BYTES    2048u
#define GDT              0x2fe0ull
#define PAGE_TABLES      0x3000ull
#define EBDA             0x9fc00ull
#define BIOS_ROM         0xe0000ull
#define FOUR_GIB         (1ull << 32)
#define DIRECTORY_SHIFT  30u          /* a page directory maps 1 GiB */
#define KERNEL_SLACK     (4ull << 20) /* for running, beyond what is loaded */

#define SELECTOR_CODE   0x10u
#define SELECTOR_DATA   0x18u
#define DESCRIPTOR_CODE 0x00af9b000000ffffull
#define DESCRIPTOR_DATA 0x00cf93000000ffffull
#define ATTRIBUTES_CODE (SEG_TYPE_CODE_RX | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_L | SEG_ATTR_G)
#define ATTRIBUTES_DATA (SEG_TYPE_DATA_RW | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB | SEG_ATTR_G)
#define ATTRIBUTES_TSS  (SEG_TYPE_TSS_BUSY | SEG_ATTR_P) /* busy, as CPUs require */
#define TSS_LIMIT       0x67u

#define PTE_TABLE 0x3ull  /* present, writable */
#define PTE_LARGE 0x83ull /* the same, and a 2 MiB page */

/* Memory is written in pieces, so that no lock is held for longer than one piece takes. */
#define WRITE_BYTES 65536ull

struct plan {
	struct image image;
	uint64_t low_end; /* the end of RAM below 4 GiB */
	uint64_t initrd_start, initrd_bytes;
	uint64_t mapped_end;
};

struct writer {
	struct pgm *pgm;
	q_status_t status; /* of the first write that failed */
};

/* --- planning --------------------------------------------------------------------------------- */

static uint64_t lowest(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static q_status_t memory_refuse(const struct linux_request *request, uint64_t needed_bytes,
				struct error_text *error)
{
	return refuse(error, Q_RANGE,
		      "kernel '%s' needs at least %lluM of memory, the VM has %lluM",
		      request->kernel->name, (unsigned long long)((needed_bytes + 0xfffff) >> 20),
		      (unsigned long long)(request->ram_bytes >> 20));
}

static q_status_t plan_initrd(const struct linux_request *request, struct plan *plan,
			      struct error_text *error)
{
	uint64_t kernel_end = plan->image.load_address + plan->image.init_bytes;
	uint64_t size_bytes = request->initrd ? request->initrd->size_bytes : 0;
	uint64_t limit = lowest(lowest(plan->image.initrd_limit, plan->low_end), INITRD_LIMIT);

	plan->mapped_end = kernel_end;
	if (size_bytes == 0)
		return Q_OK;
	if (kernel_end > limit || size_bytes > limit - kernel_end ||
	    align_down(limit - size_bytes, PAGE_SIZE) < kernel_end)
		return refuse(error, Q_RANGE,
			      "initrd '%s' does not fit between the kernel and %lluM",
			      request->initrd->name, (unsigned long long)(limit >> 20));
	plan->initrd_bytes = size_bytes;
	plan->initrd_start = align_down(limit - size_bytes, PAGE_SIZE);
	plan->mapped_end = plan->initrd_start + size_bytes;
	return Q_OK;
}

static q_status_t plan_make(const struct linux_request *request, struct plan *out_plan,
			    struct error_text *error)
{
	struct plan plan = { .low_end = lowest(request->ram_bytes, PGM_RAM_HOLE_START) };
	q_status_t status = linux_image_read(request->kernel, &plan.image, error);
	if (status != Q_OK)
		return status;

	uint64_t cmdline_max = lowest(plan.image.cmdline_max, CMDLINE_BYTES - 1);
	if (strlen(request->cmdline) > cmdline_max)
		return refuse(error, Q_RANGE,
			      "kernel '%s' takes command lines of at most %llu bytes",
			      request->kernel->name, (unsigned long long)cmdline_max);

	uint64_t initrd_bytes = request->initrd ? request->initrd->size_bytes : 0;
	uint64_t extra = plan.image.init_bytes + KERNEL_SLACK;
	if (range_exceeds(plan.image.load_address, extra, PGM_RAM_HOLE_START) ||
	    initrd_bytes > PGM_RAM_HOLE_START)
		return refuse(error, Q_RANGE, "kernel '%s' and its initrd do not fit below 3G",
			      request->kernel->name);
	uint64_t needed = plan.image.load_address + extra + align_up(initrd_bytes, PAGE_SIZE);
	if (needed > request->ram_bytes)
		return memory_refuse(request, needed, error);

	status = plan_initrd(request, &plan, error);
	if (status != Q_OK)
		return status;
	*out_plan = plan;
	return Q_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* After a failure writes nothing more, so the caller checks `status` once, at the end. */
static void put(struct writer *writer, uint64_t to, const void *from, uint64_t size_bytes)
{
	if (writer->status == Q_OK)
		writer->status = pgm_write(writer->pgm, gpa(to), from, size_bytes, NULL);
}

static void put_number(struct writer *writer, uint64_t to, uint64_t value, unsigned size_bytes)
{
	put(writer, to, &value, size_bytes);
}

static bool is_zero(const uint8_t *bytes, uint64_t size_bytes)
{
	/* The first byte is zero, and each byte equals the next. */
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size_bytes - 1) == 0;
}

/* Returns the bytes from guest address `at` to the next multiple of `step`, or to `end`. */
static uint64_t piece_bytes(uint64_t at, uint64_t end, uint64_t step)
{
	return lowest(align_down(at, step) + step, end) - at;
}

/* Writes a file, except to guest pages that would get only zeros. */
static void put_file(struct writer *writer, uint64_t to, const uint8_t *data, uint64_t size_bytes)
{
	uint64_t done = 0;
	while (done < size_bytes && writer->status == Q_OK) {
		uint64_t run = 0, limit = lowest(size_bytes - done, WRITE_BYTES);
		while (run < limit) {
			uint64_t page = piece_bytes(to + done + run, to + done + limit, PAGE_SIZE);
			if (is_zero(data + done + run, page))
				break;
			run += page;
		}
		if (run)
			put(writer, to + done, data + done, run);
		else /* a page of zeros: step over it */
			run = piece_bytes(to + done, to + size_bytes, PAGE_SIZE);
		done += run;
	}
}

struct e820_entry {
	uint64_t start, size_bytes;
	uint32_t type;
} Q_PACKED;

static void put_memory_map(struct writer *writer, const struct plan *plan, uint64_t ram_bytes)
{
	struct e820_entry entries[] = {
		{ 0, EBDA, E820_RAM },
		{ EBDA, PGM_RAM_LOW_END - EBDA, E820_RESERVED },
		{ BIOS_ROM, PGM_RAM_HIGH_START - BIOS_ROM, E820_RESERVED },
		{ PGM_RAM_HIGH_START, plan->low_end - PGM_RAM_HIGH_START, E820_RAM },
		{ FOUR_GIB, ram_bytes - plan->low_end, E820_RAM },
	};
	unsigned count = ARRAY_COUNT(entries);
	if (ram_bytes == plan->low_end)
		count--;
	put(writer, BOOT_PARAMS + PARAMS_E820_TABLE, entries, count * sizeof(entries[0]));
	put_number(writer, BOOT_PARAMS + PARAMS_E820_ENTRIES, count, 1);
}

static void put_boot_params(struct writer *writer, const struct plan *plan,
			    const struct linux_request *request)
{
	const struct image *image = &plan->image;
	put(writer, BOOT_PARAMS + HDR_SETUP_SECTS, image->setup + HDR_SETUP_SECTS,
	    lowest(image->header_end, PARAMS_HEADER_END) - HDR_SETUP_SECTS);
	put_number(writer, BOOT_PARAMS + HDR_TYPE_OF_LOADER, LOADER_UNDEFINED, 1);
	put_number(writer, BOOT_PARAMS + HDR_RAMDISK_IMAGE, plan->initrd_start, 4);
	put_number(writer, BOOT_PARAMS + HDR_RAMDISK_SIZE, plan->initrd_bytes, 4);
	put_number(writer, BOOT_PARAMS + HDR_CMD_LINE_PTR, CMDLINE, 4);
	put_number(writer, BOOT_PARAMS + PARAMS_RSDP, request->rsdp.raw, 8);
	put_memory_map(writer, plan, request->ram_bytes);
	put(writer, CMDLINE, request->cmdline, strlen(request->cmdline) + 1);
}

/* Writes one page directory of the identity mapping, 64 entries at a time. */
static void put_directory(struct writer *writer, uint64_t table, uint64_t start)
{
	uint64_t entries[64];
	for (unsigned first = 0; first < 512; first += ARRAY_COUNT(entries)) {
		for (unsigned i = 0; i < ARRAY_COUNT(entries); i++)
			entries[i] = (start + (first + i) * LARGE_PAGE_SIZE) | PTE_LARGE;
		put(writer, table + first * sizeof(entries[0]), entries, sizeof(entries));
	}
}

static void put_page_tables(struct writer *writer, uint64_t mapped_end)
{
	uint64_t pdpt = PAGE_TABLES + PAGE_SIZE, directory = pdpt + PAGE_SIZE;
	put_number(writer, PAGE_TABLES, pdpt | PTE_TABLE, 8);
	for (uint64_t i = 0; i << DIRECTORY_SHIFT < mapped_end; i++) {
		put_number(writer, pdpt + i * 8, (directory + i * PAGE_SIZE) | PTE_TABLE, 8);
		put_directory(writer, directory + i * PAGE_SIZE, i << DIRECTORY_SHIFT);
	}
}

static void put_gdt(struct writer *writer)
{
	const uint64_t gdt[] = { 0, 0, DESCRIPTOR_CODE, DESCRIPTOR_DATA };
	put(writer, GDT, gdt, sizeof(gdt));
}

/* --- the first vCPU --------------------------------------------------------------------------- */

static struct guest_segment flat_segment(uint16_t selector, uint32_t attributes)
{
	return (struct guest_segment){ .selector = selector,
				       .limit = UINT32_MAX,
				       .attributes = attributes };
}

static struct guest_state entry_state(void)
{
	struct guest_state state = {
		.gdtr = { .base = GDT, .limit = 4 * 8 - 1 },
		.cr0 = CR0_PE | CR0_ET | CR0_PG,
		.cr3 = PAGE_TABLES,
		.cr4 = CR4_PAE,
		.efer = EFER_LME | EFER_LMA,
		.pat = RESET_PAT,
		.dr6 = RESET_DR6,
		.dr7 = RESET_DR7,
	};
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		state.segment[i] = flat_segment(SELECTOR_DATA, ATTRIBUTES_DATA);
	state.segment[SEG_CS] = flat_segment(SELECTOR_CODE, ATTRIBUTES_CODE);
	state.segment[SEG_LDTR] = (struct guest_segment){ .attributes = SEG_ATTR_UNUSABLE };
	state.segment[SEG_TR] =
		(struct guest_segment){ .limit = TSS_LIMIT, .attributes = ATTRIBUTES_TSS };
	return state;
}

q_status_t linux_fit(const struct linux_request *request, struct error_text *error)
{
	struct plan plan;
	return plan_make(request, &plan, error);
}

q_status_t linux_load(struct pgm *pgm, const struct linux_request *request,
		      struct guest_state *out_state, struct guest_regs *out_regs,
		      struct error_text *error)
{
	struct plan plan = { 0 };
	q_status_t status = plan_make(request, &plan, error);
	if (status != Q_OK)
		return status;

	struct writer writer = { .pgm = pgm };
	put_file(&writer, plan.image.load_address, plan.image.code, plan.image.code_bytes);
	if (plan.initrd_bytes)
		put_file(&writer, plan.initrd_start, request->initrd->data, plan.initrd_bytes);
	put_boot_params(&writer, &plan, request);
	put_page_tables(&writer, plan.mapped_end);
	put_gdt(&writer);
	if (writer.status != Q_OK)
		return refuse(error, writer.status, "kernel '%s': guest memory: %s",
			      request->kernel->name, q_status_text(writer.status));

	*out_state = entry_state();
	*out_regs = (struct guest_regs){
		.gpr[GPR_RSI] = BOOT_PARAMS,
		.rip = plan.image.load_address + ENTRY_64,
		.rflags = RFLAGS_FIXED,
	};
	return Q_OK;
}
