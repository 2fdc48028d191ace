/* SPDX-License-Identifier: MIT */
/*
 * The composition root: the only file that knows both vendors and every layer.
 * It brings the machine up in order and then becomes the idle thread. If Quire
 * refuses to start, one line says why, and the exit status is 2.
 */
#include <stdarg.h>

#include <quire/assert.h>
#include <quire/bits.h>
#include <quire/bootinfo.h>
#include <quire/log.h>
#include <quire/physmem.h>
#include <quire/virt_ops.h>

#include "lib/error_text.h"
#include "lib/format.h"
#include "lib/string.h"
#include "arch/x86_64/cpu.h"
#include "arch/x86_64/features.h"
#include "arch/x86_64/gdt.h"
#include "arch/x86_64/lazy.h"
#include "arch/x86_64/paging.h"
#include "arch/x86_64/percpu.h"
#include "arch/x86_64/trap.h"
#include "boot/boot.h"
#include "boot/memmap.h"
#include "drivers/acpi.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/heap.h"
#include "kernel/interrupt.h"
#include "kernel/log_console.h"
#include "kernel/power.h"
#include "kernel/sched.h"
#include "kernel/time.h"
#include "kernel/timer_init.h"
#include "kernel/version.h"
#include "mm/gmm/gmm.h"
#include "svm/svm.h"
#include "vmx/vmx.h"
#include "vm/load/cpio.h"
#include "vm/load/module.h"
#include "operator/operator.h"

/* Memory below 1 MiB is left alone: it holds firmware data, and CPUs can start only in it. */
#define LOW_MEMORY_END 0x100000ull
#define ARENA_LIMIT    hpa(1ull << 32)
#define REGION_MAX     BOOTINFO_RANGE_MAX

static struct percpu boot_cpu;
static struct bootinfo bootinfo;
static struct module_table modules;
static struct gmm_region regions[REGION_MAX];

/* boot/start.S calls it. `start_tsc` was read by Quire's first instructions. */
void kernel_main(uint32_t magic, uint32_t information, uint64_t start_tsc);

Q_NORETURN Q_PRINTF(1, 2) static void refuse_to_start(const char *format, ...)
{
	char why[ERROR_TEXT_BYTES];
	va_list args;
	va_start(args, format);
	format_text_va(why, sizeof(why), format, args);
	va_end(args);
	console_print("quire: refused to start: %s\n", why);
	power_off(EXIT_STATUS_REFUSED);
}

static void require(q_status_t status, const char *what)
{
	if (status != Q_OK)
		refuse_to_start("%s: %s", what, q_status_text(status));
}

static void cpu_start(void)
{
	gdt_load();
	idt_load();
	percpu_install(&boot_cpu, 0);
	lazy_cpu_init();
}

static void read_boot_data(uint32_t magic, uint32_t information)
{
	struct error_text error;
	if (boot_collect(magic, information, &bootinfo, &error) != Q_OK)
		refuse_to_start("%s", error.text);
	if (cmdline_parse(bootinfo.command_line, &error) != Q_OK)
		refuse_to_start("%s", error.text);
	if (options()->console_port != 1)
		console_init(options()->console_port);
	log_level_set(options()->log_level);
	require(acpi_init(bootinfo.rsdp), "an ACPI RSDP with a valid RSDT or XSDT");
}

/* memory=SIZE: cuts the usable memory above 1 MiB off after that many bytes. */
static void memory_limit(void)
{
	uint64_t left = options()->memory_limit_bytes;
	if (!left)
		return;
	for (unsigned i = 0; i < bootinfo.range_count; i++) {
		struct bootinfo_range *range = &bootinfo.ranges[i];
		if (range->kind != BOOTINFO_USABLE || range->start.raw < LOW_MEMORY_END)
			continue;
		uint64_t size = range->end.raw - range->start.raw;
		if (size > left)
			range->end = hpa_add(range->start, align_down(left, PAGE_SIZE));
		left -= size < left ? size : left;
	}
}

/* Puts the usable memory above 1 MiB into `regions`, and returns how many regions it filled. */
static unsigned collect_regions(void)
{
	unsigned count = 0;
	for (unsigned i = 0; i < bootinfo.range_count; i++) {
		struct bootinfo_range range = bootinfo.ranges[i];
		if (range.kind != BOOTINFO_USABLE || range.end.raw <= LOW_MEMORY_END)
			continue;
		if (range.start.raw < LOW_MEMORY_END)
			range.start = hpa(LOW_MEMORY_END);
		if (range.start.raw < range.end.raw)
			regions[count++] = (struct gmm_region){ range.start, range.end };
	}
	return count;
}

/* Takes the boot arena from the memory map, or refuses to start. */
static struct paging_arena boot_arena_take(uint64_t size_bytes)
{
	struct paging_arena arena;
	q_status_t status = memmap_take(&bootinfo, size_bytes, ARENA_LIMIT, &arena.start);
	if (status == Q_NO_MEMORY)
		refuse_to_start("too little memory: page tables and memory records need %llu KiB "
				"in one piece below 4 GiB, and the largest piece has %llu KiB",
				(unsigned long long)size_bytes >> 10,
				(unsigned long long)memmap_largest(&bootinfo, ARENA_LIMIT) >> 10);
	if (status != Q_OK)
		refuse_to_start("memory map: more than %u ranges", BOOTINFO_RANGE_MAX);
	arena.end = hpa_add(arena.start, size_bytes);
	return arena;
}

/* Makes Quire's page tables, then gives all memory that is still usable to GMM. */
static void memory_start(void)
{
	memory_limit();
	hpa_t memory_end = memmap_end(&bootinfo);
	uint64_t metadata_bytes = gmm_metadata_size(regions, collect_regions());
	uint64_t arena_bytes =
		paging_arena_bytes(memory_end, bootinfo.module_count) + metadata_bytes;
	struct paging_arena arena = boot_arena_take(arena_bytes);
	paging_init(&arena, memory_end, bootinfo.module_count);

	Q_ASSERT(arena.end.raw - arena.start.raw >= metadata_bytes);
	void *metadata = physmem_kernel_ptr(arena.start);
	memset(metadata, 0, metadata_bytes);
	if (gmm_init(regions, collect_regions(), metadata) != Q_OK)
		refuse_to_start("too little memory: not one chunk of %llu MiB is left for guests",
				1ull << (GMM_CHUNK_SHIFT - 20));
}

static q_status_t heap_page_alloc(hpa_t *out_page)
{
	return gmm_kernel_page_alloc(GMM_VM_QUIRE, GMM_FIXED, out_page);
}

static void heap_page_free(hpa_t page)
{
	gmm_kernel_page_free(GMM_VM_QUIRE, GMM_FIXED, page);
}

static const struct heap_supply heap_supply = { heap_page_alloc, heap_page_free };

static void module_take(const struct module *module)
{
	if (cpio_is_archive(module)) {
		struct error_text error;
		if (cpio_expand(module, &modules, &error) != Q_OK)
			refuse_to_start("%s", error.text);
		return;
	}
	q_status_t status = module_add(&modules, module);
	if (status == Q_EXISTS)
		refuse_to_start("module '%s': there is a module of this name already",
				module->name);
	if (status != Q_OK)
		refuse_to_start("module '%s': more than %u modules", module->name, MODULE_MAX);
}

/* Maps the modules read-only where the loader put them, and adds them to the table. */
static void modules_start(void)
{
	for (unsigned i = 0; i < bootinfo.module_count; i++) {
		const struct bootinfo_module *from = &bootinfo.modules[i];
		if (paging_map_kernel(from->start, align_up(from->size_bytes, PAGE_SIZE),
				      PAGING_READ_ONLY) != Q_OK)
			refuse_to_start("module '%s': no memory to map it", from->name);
		module_take(&(struct module){ .name = from->name,
					      .data = physmem_kernel_ptr(from->start),
					      .size_bytes = from->size_bytes });
	}
}

static const struct virt_ops *virtualization_start(void)
{
	q_status_t status = Q_UNSUPPORTED;
	const char *reason = "the CPU has neither AMD-V nor VT-x";
	const struct virt_ops *ops = NULL;
	if (cpu_features()->has_svm)
		ops = svm_probe(&status, &reason);
	else if (cpu_features()->has_vmx)
		ops = vmx_probe(&status, &reason);
	if (!ops)
		refuse_to_start("%s", reason);
	status = ops->cpu_enable();
	if (status != Q_OK)
		refuse_to_start("%s cannot be enabled: %s", ops->name, q_status_text(status));
	return ops;
}

void kernel_main(uint32_t magic, uint32_t information, uint64_t start_tsc)
{
	cpu_features_detect();
	percpu_install(&boot_cpu, 0);
	time_start_set(start_tsc);
	console_init(1);
	console_print("quire: %s\n", quire_version);
	cpu_start();
	read_boot_data(magic, information);
	memory_start();
	heap_init(&heap_supply);
	modules_start();

	const char *reason;
	if (interrupt_init(&reason) != Q_OK)
		refuse_to_start("%s", reason);
	if (time_init() != Q_OK)
		refuse_to_start("the PIT, the TSC or the local APIC's timer does not count, or has "
				"an impossible rate");
	timer_cpu_init();
	sched_init();
	console_interrupts_start();
	log_console_start();

	const struct virt_ops *ops = virtualization_start();
	log_notice("quire: booted by %s, %u module%s, TSC %llu MHz, guests by %s", bootinfo.loader,
		   modules.count, modules.count == 1 ? "" : "s",
		   (unsigned long long)(time_tsc_hz() / 1000000), ops->name);
	struct error_text error;
	if (operator_start(ops, &modules, &error) != Q_OK)
		refuse_to_start("%s", error.text);
	sched_idle();
}
