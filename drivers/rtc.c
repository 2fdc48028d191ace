/* SPDX-License-Identifier: MIT */
/* Reads the clock's registers, binary or BCD, 12 or 24 hours, and converts them. */
#include "rtc.h"

#include <quire/bits.h>

#include "lib/string.h"
#include "arch/x86_64/cpu.h"

/* MC146818A data sheet. The chip has no century; PCs keep it in register 0x32. */
#define CMOS_INDEX   0x70
#define CMOS_DATA    0x71
#define REG_STATUS_A 0x0a
#define REG_STATUS_B 0x0b
#define REG_CENTURY  0x32
#define UPDATING     BIT32(7)
#define BINARY       BIT32(2)
#define HOURS_24     BIT32(1)
#define PM           BIT32(7)

struct clock {
	uint8_t second, minute, hour, day, month, year, century;
};

static uint8_t cmos_read(uint8_t reg)
{
	cpu_out8(CMOS_INDEX, reg);
	return cpu_in8(CMOS_DATA);
}

static struct clock clock_read(void)
{
	for (unsigned i = 0; i < 100000 && (cmos_read(REG_STATUS_A) & UPDATING); i++)
		cpu_pause();
	return (struct clock){ cmos_read(0), cmos_read(2), cmos_read(4),          cmos_read(7),
			       cmos_read(8), cmos_read(9), cmos_read(REG_CENTURY) };
}

static unsigned number(uint8_t value, bool is_binary)
{
	return is_binary ? value : (value >> 4) * 10u + (value & 0xf);
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. */
static uint64_t days_since_1970(unsigned year, unsigned month, unsigned day)
{
	static const uint16_t before[12] = {
		0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334
	};
	uint64_t years = year - 1;
	uint64_t leap_days = years / 4 - years / 100 + years / 400;
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	const uint64_t days_1970 = 719162; /* from 0001-01-01 */
	return years * 365 + leap_days + before[month - 1] + (is_leap && month > 2) + day - 1 -
	       days_1970;
}

uint64_t rtc_read_seconds(void)
{
	/* Read until two readings agree: a reading during an update may mix old and new values. */
	struct clock now = clock_read(), again = clock_read();
	for (unsigned i = 0; i < 5 && memcmp(&now, &again, sizeof(now)) != 0; i++) {
		now = again;
		again = clock_read();
	}
	uint8_t status = cmos_read(REG_STATUS_B);
	bool is_binary = status & BINARY;
	unsigned hour = number(now.hour & (uint8_t)~PM, is_binary);
	if (!(status & HOURS_24))
		hour = hour % 12 + (now.hour & PM ? 12 : 0);
	unsigned century = number(now.century, is_binary);
	unsigned year = number(now.year, is_binary) +
			(century >= 19 && century < 30 ? century * 100 : 2000);
	unsigned month = number(now.month, is_binary), day = number(now.day, is_binary);
	if (year < 1970 || month < 1 || month > 12 || day < 1 || day > 31)
		return 0;
	return days_since_1970(year, month, day) * 86400 + hour * 3600u +
	       number(now.minute, is_binary) * 60u + number(now.second, is_binary);
}
