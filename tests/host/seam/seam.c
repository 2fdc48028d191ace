/* SPDX-License-Identifier: MIT */
/* The host side of the seams: fake RAM, locks, the log and assertions. */
#define _GNU_SOURCE
#include "seam/seam.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <quire/assert.h>
#include <quire/atomic.h>
#include <quire/lock.h>
#include <quire/log.h>
#include <quire/physmem.h>

#define CHUNK_SIZE (1ull << GMM_CHUNK_SHIFT)

static struct {
	int fd;
	uint64_t size_bytes;
	uint8_t *peek;    /* a mapping of all fake RAM, for tests */
	uint8_t *kernel;  /* address space that physmem_kernel_map() fills piece by piece */
	uint8_t *windows; /* address space for PHYSMEM_CPU_MAX * PHYSMEM_WINDOW_COUNT chunks */
	uint64_t window_maps;
	unsigned kernel_map_fail_at;
	void (*kernel_map_hook)(void);
} ram = { .fd = -1 };

static _Thread_local unsigned current_cpu;
static _Thread_local enum lock_rank held_ranks[16];
static _Thread_local unsigned held_count;

static void check(bool condition, const char *what)
{
	if (!condition) {
		perror(what);
		abort();
	}
}

static uint8_t *address_space(uint64_t size_bytes)
{
	void *p = mmap(NULL, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	check(p != MAP_FAILED, "mmap");
	return p;
}

static uint64_t windows_bytes(void)
{
	return CHUNK_SIZE * PHYSMEM_CPU_MAX * PHYSMEM_WINDOW_COUNT;
}

void fake_ram_create_sparse(uint64_t size_bytes)
{
	fake_ram_destroy();
	ram.fd = memfd_create("fake-ram", 0);
	check(ram.fd >= 0 && ftruncate(ram.fd, (off_t)size_bytes) == 0, "memfd");
	ram.size_bytes = size_bytes;
	ram.peek = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram.fd, 0);
	check(ram.peek != MAP_FAILED, "mmap");
	ram.kernel = address_space(size_bytes);
	ram.windows = address_space(windows_bytes());
}

void fake_ram_create(uint64_t size_bytes)
{
	fake_ram_create_sparse(size_bytes);
	memset(ram.peek, 0xa5, size_bytes);
}

void fake_ram_destroy(void)
{
	if (ram.fd < 0)
		return;
	munmap(ram.peek, ram.size_bytes);
	munmap(ram.kernel, ram.size_bytes);
	munmap(ram.windows, windows_bytes());
	close(ram.fd);
	memset(&ram, 0, sizeof(ram));
	ram.fd = -1;
}

static uint64_t ram_offset(hpa_t addr, uint64_t size_bytes)
{
	check(addr.raw >= FAKE_RAM_BASE, "address below fake RAM");
	uint64_t offset = addr.raw - FAKE_RAM_BASE;
	check(!range_exceeds(offset, size_bytes, ram.size_bytes), "address beyond fake RAM");
	return offset;
}

void *fake_ram_peek(hpa_t addr)
{
	return ram.peek + ram_offset(addr, 1);
}

void fake_cpu_set(unsigned cpu)
{
	current_cpu = cpu;
}

void fake_kernel_map_fail_at(unsigned count)
{
	ram.kernel_map_fail_at = count;
}

void fake_kernel_map_hook(void (*hook)(void))
{
	ram.kernel_map_hook = hook;
}

uint64_t fake_window_maps(void)
{
	return ram.window_maps;
}

/* --- <quire/physmem.h> ------------------------------------------------------- */

void *physmem_kernel_ptr(hpa_t addr)
{
	return ram.kernel + ram_offset(addr, 1);
}

hpa_t physmem_kernel_hpa(const void *address)
{
	uint64_t offset = (uint64_t)((const uint8_t *)address - ram.kernel);
	check(offset < ram.size_bytes, "not kernel memory");
	return hpa(FAKE_RAM_BASE + offset);
}

q_status_t physmem_kernel_map(hpa_t start, uint64_t size_bytes)
{
	uint64_t offset = ram_offset(start, size_bytes);
	if (ram.kernel_map_hook)
		ram.kernel_map_hook();
	if (ram.kernel_map_fail_at && --ram.kernel_map_fail_at == 0)
		return Q_NO_MEMORY;
	void *p = mmap(ram.kernel + offset, size_bytes, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, ram.fd, (off_t)offset);
	check(p != MAP_FAILED, "mmap");
	return Q_OK;
}

void physmem_kernel_unmap(hpa_t start, uint64_t size_bytes)
{
	uint64_t offset = ram_offset(start, size_bytes);
	if (ram.kernel_map_hook)
		ram.kernel_map_hook();
	void *p = mmap(ram.kernel + offset, size_bytes, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	check(p != MAP_FAILED, "mmap");
}

unsigned physmem_cpu(void)
{
	return current_cpu;
}

static uint8_t *window_address(unsigned slot)
{
	Q_ASSERT(slot < PHYSMEM_WINDOW_COUNT);
	return ram.windows + CHUNK_SIZE * (current_cpu * PHYSMEM_WINDOW_COUNT + slot);
}

void *physmem_window_map(unsigned slot, hpa_t base)
{
	uint64_t offset = ram_offset(base, CHUNK_SIZE);
	void *p = mmap(window_address(slot), CHUNK_SIZE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_FIXED, ram.fd, (off_t)offset);
	check(p != MAP_FAILED, "mmap");
	atomic_add_relaxed(&ram.window_maps, 1);
	return p;
}

void physmem_window_unmap(unsigned slot)
{
	void *p = mmap(window_address(slot), CHUNK_SIZE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	check(p != MAP_FAILED, "mmap");
}

uint64_t pte_load(const uint64_t *entry)
{
	return __atomic_load_n(entry, __ATOMIC_ACQUIRE);
}

void pte_store(uint64_t *entry, uint64_t value)
{
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

bool pte_cas(uint64_t *entry, uint64_t expected, uint64_t value)
{
	return __atomic_compare_exchange_n(entry, &expected, value, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* --- <quire/lock.h> ------------------------------------------------------------ */

void spin_init(struct spinlock *lock, enum lock_rank rank, const char *name)
{
	pthread_mutex_init(&lock->mutex, NULL);
	lock->is_held = false;
	lock->rank = rank;
	lock->name = name;
}

static void rank_check(const struct spinlock *lock)
{
	if (held_count && held_ranks[held_count - 1] >= lock->rank) {
		fprintf(stderr, "lock order: %s (rank %d) under rank %d\n", lock->name, lock->rank,
			held_ranks[held_count - 1]);
		abort();
	}
	Q_ASSERT(held_count < ARRAY_COUNT(held_ranks));
}

static void holder_set(struct spinlock *lock)
{
	lock->holder = pthread_self();
	lock->is_held = true;
	held_ranks[held_count++] = lock->rank;
}

void spin_lock(struct spinlock *lock)
{
	rank_check(lock);
	pthread_mutex_lock(&lock->mutex);
	holder_set(lock);
}

bool spin_try_lock(struct spinlock *lock)
{
	rank_check(lock);
	if (pthread_mutex_trylock(&lock->mutex) != 0)
		return false;
	holder_set(lock);
	return true;
}

void spin_unlock(struct spinlock *lock)
{
	Q_ASSERT(spin_is_held(lock) && held_ranks[held_count - 1] == lock->rank);
	held_count--;
	lock->is_held = false;
	pthread_mutex_unlock(&lock->mutex);
}

uint64_t spin_lock_irqsave(struct spinlock *lock)
{
	spin_lock(lock);
	return 0;
}

void spin_unlock_irqrestore(struct spinlock *lock, uint64_t flags)
{
	(void)flags;
	spin_unlock(lock);
}

unsigned fake_locks_held(void)
{
	return held_count;
}

bool spin_is_held(const struct spinlock *lock)
{
	return lock->is_held && pthread_equal(lock->holder, pthread_self());
}

/* --- <quire/log.h>, <quire/assert.h> --------------------------------------------- */

static char log_text[16384];

void log_write(enum log_level level, const char *format, ...)
{
	(void)level;
	va_list args;
	char line[512];
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	size_t used = strlen(log_text), added = strlen(line);
	if (used + added + 2 > sizeof(log_text))
		used = 0;
	snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

bool fake_log_contains(const char *text)
{
	return strstr(log_text, text) != NULL;
}

const char *fake_log_text(void)
{
	return log_text;
}

unsigned fake_log_count(const char *text)
{
	unsigned count = 0;
	for (const char *at = log_text; (at = strstr(at, text)) != NULL; at++)
		count++;
	return count;
}

void fake_log_clear(void)
{
	log_text[0] = 0;
}

void assert_failed(const char *expression, const char *file, unsigned line)
{
	fprintf(stderr, "%s:%u: assertion failed: %s\n%s", file, line, expression, log_text);
	abort();
}
