/* SPDX-License-Identifier: MIT */
#include "machine_fixture.h"

#include <stdio.h>

#include <quire/assert.h>

#include "devices/pc/vpc_internal.h"
#include "kernel/heap.h"
#include "kernel/time.h"

struct fake fake;
struct machine machine;
struct vcpu *cpu;
struct taken taken;
void (*guest_code_hook)(struct virt_vcpu *virt);

/* The exits with which the next runs end. */
#define EXIT_MAX 256u
static struct vmexit exits[EXIT_MAX];
static unsigned exit_first, exit_end;

/* --- arch/x86_64 -------------------------------------------------------------------------- */

/* A CPU with everything that CPUID can offer; sizes are those of real XSAVE components. */
void cpu_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
	static const struct cpuid_regs xsave[] = {
		[1] = { 0xf, 0, 0, 0 },   [2] = { 256, 576, 0, 0 },   [5] = { 64, 832, 0, 0 },
		[6] = { 512, 896, 0, 0 }, [7] = { 1024, 1408, 0, 0 }, [9] = { 8, 2432, 0, 0 },
	};
	*out = (struct cpuid_regs){ ~0u, ~0u, ~0u, ~0u };
	if (leaf == 1)
		out->eax = CPUID_SIGNATURE;
	else if (leaf == 0x80000000)
		out->eax = 0x8000001f;
	else if (leaf == 4)
		*out = subleaf < 4 ? (struct cpuid_regs){ 0xfc004121 + subleaf, subleaf, 63, 0 }
				   : (struct cpuid_regs){ 0 };
	else if (leaf == 0xd)
		*out = subleaf < ARRAY_COUNT(xsave) ? xsave[subleaf] : (struct cpuid_regs){ 0 };
}

uint64_t cpu_rdtsc(void)
{
	uint64_t tsc = fake.tsc;
	fake.tsc += fake.tsc_step;
	return tsc;
}

void cpu_irq_enable(void)
{
	Q_ASSERT(fake.irqs_are_off);
	fake.irqs_are_off = false;
}

void cpu_irq_disable(void)
{
	Q_ASSERT(!fake.irqs_are_off);
	fake.irqs_are_off = true;
	/* After the queued exits the thread's slice is over, so that vcpu_run() returns. */
	if (exit_first == exit_end)
		fake.percpu.should_yield = true;
}

uint64_t cpu_xgetbv(uint32_t index)
{
	Q_ASSERT(index == 0 && fake.xcr0_supported);
	return fake.xcr0;
}

/* An invalid value would raise #GP in Quire. */
void cpu_xsetbv(uint32_t index, uint64_t value)
{
	Q_ASSERT(index == 0 && x86_xcr0_is_valid(value, fake.xcr0_supported));
	fake.xcr0 = value;
}

struct percpu *percpu(void)
{
	return &fake.percpu;
}

size_t lazy_area_size(void)
{
	return 832;
}

uint64_t lazy_xcr0_supported(void)
{
	return fake.xcr0_supported;
}

void lazy_init(struct lazy_state *state, void *area)
{
	Q_ASSERT((uintptr_t)area % 64 == 0);
	memset(area, 0x11, lazy_area_size());
	*state = (struct lazy_state){ .area = area, .xcr0 = 1 };
}

void lazy_switch(struct lazy_state *state)
{
	fake.percpu.lazy_owner = state;
	fake.lazy_switches++;
}

void lazy_drop(struct lazy_state *state)
{
	if (fake.percpu.lazy_owner == state)
		fake.percpu.lazy_owner = NULL;
}

/* --- kernel/ ------------------------------------------------------------------------------ */

q_status_t thread_create(const char *name, enum thread_priority priority, void (*body)(void *),
			 void *argument, struct thread **out_thread)
{
	Q_ASSERT(priority == THREAD_NORMAL);
	struct thread *thread = heap_alloc(sizeof(*thread));
	if (!thread)
		return Q_NO_MEMORY;
	snprintf(thread->name, sizeof(thread->name), "%s", name);
	thread->body = body;
	thread->argument = argument;
	*out_thread = thread;
	return Q_OK;
}

void thread_join(struct thread *thread)
{
	const struct vcpu *vcpu = thread->argument;
	Q_ASSERT((vcpu->requests & VCPU_REQUEST_END) && thread->unparks > 0);
	heap_free(thread, sizeof(*thread));
}

struct thread *thread_self(void)
{
	return fake.self;
}

void thread_unpark(struct thread *thread)
{
	thread->unparks++;
}

uint64_t thread_cpu_ticks(const struct thread *thread)
{
	return thread->cpu_ticks;
}

void timer_init(struct timer *timer, void (*fired)(struct timer *timer))
{
	*timer = (struct timer){ .fired = fired };
}

void timer_arm(struct timer *timer, uint64_t deadline_tsc)
{
	Q_ASSERT(timer->fired);
	fake.timer = timer;
	fake.timer_deadline = deadline_tsc;
	fake.timer_arms++;
}

void timer_cancel(struct timer *timer)
{
	Q_ASSERT(timer->fired);
	if (fake.timer == timer)
		fake.timer = NULL;
}

uint64_t time_tsc_hz(void)
{
	return TSC_HZ;
}

uint64_t time_epoch_seconds(void)
{
	return EPOCH;
}

/* --- the backend -------------------------------------------------------------------------- */

static q_status_t fake_vcpu_create(struct guest_regs *regs, struct virt_vcpu **out_vcpu)
{
	struct virt_vcpu *virt = heap_alloc(sizeof(*virt));
	if (!virt)
		return Q_NO_MEMORY;
	virt->regs = regs;
	*out_vcpu = virt;
	fake_ops.vcpu_reset(virt);
	return Q_OK;
}

static void fake_vcpu_destroy(struct virt_vcpu *virt)
{
	heap_free(virt, sizeof(*virt));
}

static void fake_vcpu_reset(struct virt_vcpu *virt)
{
	*virt->regs = (struct guest_regs){ .gpr[GPR_RDX] = CPUID_SIGNATURE,
					   .rip = RESET_RIP,
					   .rflags = RFLAGS_FIXED };
	virt->state = x86_reset_state;
	virt->event.type = GUEST_EVENT_NONE;
	virt->window = false;
	virt->takes_interrupt = false;
	virt->resets++;
}

static void fake_run(struct virt_vcpu *virt, struct vmexit *out_exit)
{
	const struct vcpu *vcpu = container_of(virt->regs, struct vcpu, regs);
	Q_ASSERT(fake.irqs_are_off && !spin_is_held(&machine.devices_lock));
	Q_ASSERT(fake.self == vcpu->thread && fake.percpu.lazy_owner == &vcpu->lazy);
	Q_ASSERT(exit_first < exit_end);

	virt->runs++;
	virt->delivered = virt->event;
	virt->event.type = GUEST_EVENT_NONE;
	if (guest_code_hook)
		guest_code_hook(virt);
	*out_exit = exits[exit_first++];
	virt->takes_interrupt =
		out_exit->can_interrupt ||
		(out_exit->has_vectoring && out_exit->vectoring.type == GUEST_EVENT_INTERRUPT);
}

static void fake_state_get(struct virt_vcpu *virt, struct guest_state *out_state)
{
	*out_state = virt->state;
}

static void fake_code_state_get(struct virt_vcpu *virt, struct guest_code_state *out_state)
{
	const struct guest_state *state = &virt->state;
	*out_state = (struct guest_code_state){
		.cr0 = state->cr0,
		.cr3 = state->cr3,
		.cr4 = state->cr4,
		.efer = state->efer,
		.dr7 = state->dr7,
		.cs_base = state->segment[SEG_CS].base,
		.cs_attributes = state->segment[SEG_CS].attributes,
		.cpl = state->cpl,
	};
}

static q_status_t fake_state_set(struct virt_vcpu *virt, const struct guest_state *state)
{
	if (virt->refuses_state)
		return Q_INVALID;
	virt->state = *state;
	return Q_OK;
}

static void event_check(const struct virt_vcpu *virt, const struct guest_event *event)
{
	switch (event->type) {
	case GUEST_EVENT_NONE: break;
	case GUEST_EVENT_INTERRUPT: Q_ASSERT(virt->takes_interrupt); break;
	case GUEST_EVENT_NMI: Q_ASSERT(event->vector == VECTOR_NMI); break;
	case GUEST_EVENT_EXCEPTION:
		Q_ASSERT(event->vector < VECTOR_EXCEPTION_COUNT && event->vector != VECTOR_NMI);
		Q_ASSERT(event->has_error_code == (ERROR_CODE_VECTORS >> event->vector & 1));
		break;
	case GUEST_EVENT_SOFT_INTERRUPT:
	case GUEST_EVENT_SOFT_EXCEPTION: Q_ASSERT(!"RIP is still at the instruction"); break;
	}
}

/* A second event before the entry would replace the first, which would be lost. */
static void fake_event_inject(struct virt_vcpu *virt, const struct guest_event *event)
{
	Q_ASSERT(virt->event.type == GUEST_EVENT_NONE);
	event_check(virt, event);
	virt->event = *event;
}

static void fake_interrupt_window_set(struct virt_vcpu *virt, bool is_wanted)
{
	virt->window = is_wanted;
	virt->windows++;
}

static void fake_insn_skipped(struct virt_vcpu *virt)
{
	virt->takes_interrupt = virt->regs->rflags & RFLAGS_IF;
	virt->skips++;
}

static void fake_slat_root_set(struct virt_vcpu *virt, hpa_t root)
{
	virt->root = root;
}

static void fake_slat_flush(struct virt_vcpu *virt)
{
	virt->flushes++;
}

static void fake_tsc_offset_set(struct virt_vcpu *virt, uint64_t offset)
{
	virt->tsc_offset = offset;
}

static bool fake_slat_notes_dirty(void)
{
	return false;
}

static bool fake_check(struct virt_vcpu *virt)
{
	virt->checks++;
	return false;
}

static void fake_dump(struct virt_vcpu *virt)
{
	virt->dumps++;
}

struct virt_ops fake_ops = {
	.name = "fake",
	.slat_kind = SLAT_NPT,
	.vcpu_create = fake_vcpu_create,
	.vcpu_destroy = fake_vcpu_destroy,
	.vcpu_reset = fake_vcpu_reset,
	.run = fake_run,
	.state_get = fake_state_get,
	.code_state_get = fake_code_state_get,
	.state_set = fake_state_set,
	.event_inject = fake_event_inject,
	.interrupt_window_set = fake_interrupt_window_set,
	.insn_skipped = fake_insn_skipped,
	.slat_root_set = fake_slat_root_set,
	.slat_flush = fake_slat_flush,
	.tsc_offset_set = fake_tsc_offset_set,
	.slat_notes_dirty = fake_slat_notes_dirty,
	.check = fake_check,
	.dump = fake_dump,
};

/* --- the scene ---------------------------------------------------------------------------- */

/* Also frees what a failed test left behind. */
void host_set_up(void)
{
	static void *metadata;
	struct gmm_region all = { hpa(FAKE_RAM_BASE), hpa(FAKE_RAM_BASE + HOST_BYTES) };
	uint64_t metadata_bytes = gmm_metadata_size(&all, 1);

	fake_heap_clear();
	fake = (struct fake){ .tsc = 5 * TSC_HZ + TSC_HZ / 4,
			      .xcr0 = XCR0_X87,
			      .xcr0_supported = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512 };
	memset(&machine, 0, sizeof(machine));
	guest_code_hook = NULL;
	exit_first = exit_end = 0;
	fake_options = (struct options){ .log_level = LOG_ERROR };
	fake_log_clear();
	fake_console_clear();

	fake_kernel_map_fail_at(0);
	fake_cpu_set(0);
	fake_ram_create(HOST_BYTES);
	free(metadata);
	metadata = aligned_alloc(PAGE_SIZE, metadata_bytes);
	memset(metadata, 0, metadata_bytes);
	q_status_t status = gmm_init(&all, 1, metadata);
	Q_ASSERT(status == Q_OK);
}

static void body(void *vcpu)
{
	(void)vcpu;
}

struct machine_config machine_config_of(unsigned vcpu_count)
{
	return (struct machine_config){
		.name = "vm",
		.vcpu_count = vcpu_count,
		.memory = { .ram_bytes = GUEST_BYTES, .overcommit = GMM_OVERCOMMIT_FULL },
		.serial = SERIAL_COM2, /* passes on every byte */
		.has_debug_exit = true,
		.has_debug_console = true,
		.vcpu_run = body,
	};
}

void set_up(unsigned vcpu_count)
{
	host_set_up();
	struct machine_config config = machine_config_of(vcpu_count);
	q_status_t status = machine_init(&machine, &config, &fake_ops);
	Q_ASSERT(status == Q_OK);
	cpu = machine.vcpus[0];
	fake.self = cpu->thread;
	machine_power_on(&machine);
	for (unsigned i = 0; i < vcpu_count; i++)
		serve(machine.vcpus[i]);
	status = pgm_handy_refill(machine.pgm);
	Q_ASSERT(status == Q_OK);
}

void set_up_64(void)
{
	set_up(1);
	mode_64();
}

void tear_down(void)
{
	machine_check(&machine);
	gmm_check();
	machine_fini(&machine);
	gmm_check();
	struct census left = census_take();
	Q_ASSERT(left.blocks == 0 && left.vms == 0 && left.private_pages == 0);
	Q_ASSERT(fake.timer == NULL && !fake.irqs_are_off && exits_left() == 0);
	Q_ASSERT(fake.percpu.lazy_owner == NULL);
	fake_ram_destroy();
}

struct census census_take(void)
{
	struct gmm_stats stats;
	gmm_stats(&stats);
	return (struct census){ fake_heap_blocks(), stats.vm_count, stats.private_pages,
				stats.kernel_pages, stats.reserved_pages };
}

static gmm_vm_t hog;

void memory_exhaust(unsigned stock)
{
	struct gmm_vm_config config = { .pages = { 1u << 20, 0, 0 },
					.overcommit = GMM_OVERCOMMIT_FULL };
	q_status_t status = gmm_vm_create(&config, &hog);
	Q_ASSERT(status == Q_OK);
	for (struct gmm_page page; gmm_pages_available(hog, 1) > 0;) {
		status = gmm_pages_alloc(hog, &page, 1);
		Q_ASSERT(status == Q_OK);
	}
	struct pgm_stats stats;
	uint64_t at = GUEST_BYTES;
	for (pgm_stats(machine.pgm, &stats); stats.handy > stock; pgm_stats(machine.pgm, &stats)) {
		struct pgm_fault fault = { .addr = gpa(at -= PAGE_SIZE), .access = MEM_WRITE };
		enum pgm_outcome outcome = pgm_fault_handle(machine.pgm, &fault);
		Q_ASSERT(outcome == PGM_RESOLVED);
	}
}

void memory_release(void)
{
	gmm_vm_destroy(hog);
	q_status_t status = pgm_handy_refill(machine.pgm);
	Q_ASSERT(status == Q_OK);
}

void page_share(uint64_t addr)
{
	gfn_t at = gpa_to_gfn(gpa(addr));
	struct pgm_page_view view;
	struct gmm_page shared;
	unsigned done;
	bool is_ram = pgm_page_look(machine.pgm, at, &view);
	Q_ASSERT(is_ram && view.kind == PGM_PAGE_NORMAL);
	q_status_t status = gmm_shared_alloc(&shared);
	Q_ASSERT(status == Q_OK);
	gmm_page_copy(shared.id, view.id);
	status = pgm_page_monitor(machine.pgm, at, view.id);
	Q_ASSERT(status == Q_OK);
	status = pgm_page_share(machine.pgm, at, view.id, shared.id);
	Q_ASSERT(status == Q_OK);
	status = gmm_shared_put(GMM_VM_QUIRE, &shared.id, 1, &done);
	Q_ASSERT(status == Q_OK);
}

/* --- guest memory ------------------------------------------------------------------------- */

void guest_put(uint64_t addr, const void *bytes, size_t size_bytes)
{
	q_status_t status = pgm_write(machine.pgm, gpa(addr), bytes, size_bytes, NULL);
	Q_ASSERT(status == Q_OK);
}

void guest_put_number(uint64_t addr, uint64_t value, unsigned size_bytes)
{
	guest_put(addr, &value, size_bytes);
}

void guest_fill(uint64_t addr, uint8_t byte, size_t size_bytes)
{
	uint8_t bytes[256];
	memset(bytes, byte, sizeof(bytes));
	for (size_t done = 0; done < size_bytes; done += sizeof(bytes))
		guest_put(addr + done, bytes,
			  size_bytes - done < sizeof(bytes) ? size_bytes - done : sizeof(bytes));
}

uint64_t guest_number(uint64_t addr, unsigned size_bytes)
{
	uint64_t value = 0;
	q_status_t status = pgm_read(machine.pgm, gpa(addr), &value, size_bytes, NULL);
	Q_ASSERT(status == Q_OK);
	return value;
}

bool guest_is_all(uint64_t addr, uint8_t byte, size_t size_bytes)
{
	for (size_t i = 0; i < size_bytes; i++)
		if (guest_number(addr + i, 1) != byte)
			return false;
	return true;
}

void guest_code_put(const void *bytes, size_t size_bytes)
{
	guest_put(CODE_AT, bytes, size_bytes);
	cpu->regs.rip = CODE_AT;
	/* The vCPU keeps lengths by RIP, but this code is new. */
	memset(&cpu->lengths, 0, sizeof(cpu->lengths));
}

static unsigned tables_used; /* pages behind the first table */

/* The address of the entry of that level; makes the tables above it. Level 1 is the last. */
static uint64_t entry_at(uint64_t virt, unsigned level)
{
	uint64_t table = TABLES_AT;
	for (unsigned at = 4;; at--) {
		uint64_t entry = table + (virt >> (12 + 9 * (at - 1)) & 511) * 8;
		if (at == level)
			return entry;
		if (!(guest_number(entry, 8) & PAGE_P)) {
			uint64_t next = TABLES_AT + ++tables_used * PAGE_SIZE;
			Q_ASSERT(next < TABLES_AT + MIB(1));
			guest_put_number(entry, next | PAGE_USER, 8);
		}
		Q_ASSERT(!(guest_number(entry, 8) & PAGE_PS));
		table = guest_number(entry, 8) & MASK64(51, 12);
	}
}

void page_map(uint64_t virt, uint64_t addr, uint64_t flags)
{
	guest_put_number(entry_at(virt, 1), flags ? addr | flags : 0, 8);
}

uint64_t page_entry_at(uint64_t virt)
{
	return entry_at(virt, 1);
}

uint64_t page_entry(uint64_t virt)
{
	return guest_number(page_entry_at(virt), 8);
}

static void flat_segments(uint32_t code, uint32_t data, uint32_t limit)
{
	struct guest_state *state = &cpu->virt->state;
	for (unsigned i = SEG_ES; i <= SEG_GS; i++)
		state->segment[i] = (struct guest_segment){ .limit = limit,
							    .attributes = i == SEG_CS ? code : data,
							    .selector = 8 };
	cpu->regs.rip = CODE_AT;
	cpu->regs.gpr[GPR_RSP] = STACK_AT;
}

void mode_64(void)
{
	struct guest_state *state = &cpu->virt->state;
	Q_ASSERT(guest_number(TABLES_AT, 8) == 0);
	tables_used = 0;
	for (uint64_t at = 0; at < GUEST_BYTES; at += LARGE_PAGE_SIZE)
		guest_put_number(entry_at(at, 2), at | PAGE_USER | PAGE_PS, 8);
	page_map(LAPIC_AT, LAPIC_AT, PAGE_USER);
	page_map(IOAPIC_AT, IOAPIC_AT, PAGE_USER);
	flat_segments(RESET_CODE | SEG_ATTR_L, RESET_DATA, UINT32_MAX);
	state->cr0 = CR0_PE | CR0_PG | CR0_WP;
	state->cr3 = TABLES_AT;
	state->cr4 = CR4_PAE;
	state->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

void mode_32(void)
{
	struct guest_state *state = &cpu->virt->state;
	flat_segments(RESET_CODE | SEG_ATTR_DB, RESET_DATA | SEG_ATTR_DB, UINT32_MAX);
	state->cr0 = CR0_PE;
}

void mode_16(void)
{
	flat_segments(RESET_CODE, RESET_DATA, RESET_LIMIT);
	/* CODE_AT is beyond 64 KiB. */
	cpu->virt->state.segment[SEG_CS].base = CODE_AT;
	cpu->regs.rip = 0;
	cpu->virt->state.cr0 = CR0_ET;
}

/* --- running ------------------------------------------------------------------------------ */

void exit_queue(const struct vmexit *exit)
{
	if (exit_first == exit_end)
		exit_first = exit_end = 0;
	Q_ASSERT(exit_end < EXIT_MAX);
	exits[exit_end++] = *exit;
}

void exit_replace(const struct vmexit *exit)
{
	exits[exit_first] = *exit;
}

unsigned exits_left(void)
{
	unsigned count = exit_end - exit_first;
	exit_first = exit_end = 0;
	return count;
}

void run(struct vcpu *vcpu)
{
	fake.self = vcpu->thread;
	fake.percpu.should_yield = false;
	vcpu_run(vcpu);
	fake.percpu.should_yield = false;
}

void serve(struct vcpu *vcpu)
{
	fake.self = vcpu->thread;
	vcpu_requests_serve(vcpu, atomic_exchange_acq_rel(&vcpu->requests, 0));
}

void take_exit_of(struct vcpu *vcpu, struct vmexit exit)
{
	serve(vcpu);
	taken.before = vcpu->regs;
	exit_queue(&exit);
	run(vcpu);
	Q_ASSERT(exits_left() == 0);
	taken.wish = vcpu_wish_take(vcpu);
}

struct guest_event next_event_of(struct vcpu *vcpu)
{
	struct vmexit exit = { .kind = VMEXIT_HOST_INTERRUPT,
			       .can_interrupt = vcpu->can_interrupt };
	serve(vcpu);
	exit_queue(&exit);
	run(vcpu);
	Q_ASSERT(exits_left() == 0);
	return vcpu->virt->delivered;
}

bool is_done(unsigned length)
{
	return cpu->regs.rip == taken.before.rip + length && taken.wish.kind == VCPU_WISH_NOTHING &&
	       next_event().type == GUEST_EVENT_NONE;
}

bool is_retried(void)
{
	return cpu->regs.rip == taken.before.rip && next_event().type == GUEST_EVENT_NONE;
}

bool delivers(unsigned vector, int64_t error_code)
{
	struct guest_event event = next_event();
	return event.type == GUEST_EVENT_EXCEPTION && event.vector == vector &&
	       event.has_error_code == (error_code != NO_CODE) &&
	       (error_code == NO_CODE || event.error_code == error_code);
}

bool raises(unsigned vector, int64_t error_code)
{
	return cpu->regs.rip == taken.before.rip && delivers(vector, error_code);
}

bool raises_page_fault(uint64_t address, uint32_t error_code)
{
	return raises(VECTOR_PF, error_code) && cpu->virt->state.cr2 == address;
}

void take_memory_exit(uint64_t addr, enum mem_access access)
{
	take_exit(.kind = VMEXIT_MEMORY, .memory = { .addr = gpa(addr), .access = access });
}

/* --- devices ------------------------------------------------------------------------------ */

uint32_t lapic_get(const struct vcpu *vcpu, unsigned offset)
{
	uint64_t value = 0;
	bool is_there = vpc_mmio_read(machine.vpc, vcpu->index, gpa(LAPIC_AT + offset), 4, &value,
				      machine_now(&machine));
	Q_ASSERT(is_there);
	return (uint32_t)value;
}

void lapic_set(struct vcpu *vcpu, unsigned offset, uint32_t value)
{
	fake.self = vcpu->thread;
	machine_devices_enter(&machine);
	bool is_there = vpc_mmio_write(machine.vpc, vcpu->index, gpa(LAPIC_AT + offset), 4, value,
				       machine_now(&machine));
	machine_devices_leave(&machine, vcpu);
	Q_ASSERT(is_there);
}

void lapics_enable(void)
{
	for (unsigned i = 0; i < machine.vcpu_count; i++)
		lapic_set(machine.vcpus[i], LAPIC_SVR * 16, 0x1ff);
}

/* Enters the devices as a thread that is not a vCPU's. */
static struct vlapic *lapic_enter(const struct vcpu *vcpu)
{
	fake.self = NULL;
	machine_devices_enter(&machine);
	return &machine.vpc->lapics[vcpu->index];
}

void interrupt_raise(struct vcpu *vcpu, uint8_t vector)
{
	bool is_taken = vlapic_accept(machine.vpc, lapic_enter(vcpu), vector, false);
	machine_devices_leave(&machine, NULL);
	Q_ASSERT(is_taken);
}

void nmi_raise(struct vcpu *vcpu)
{
	vlapic_nmi(machine.vpc, lapic_enter(vcpu));
	machine_devices_leave(&machine, NULL);
}
