#include "fault_vfs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>

/* The system's file lies behind it. */
struct file {
	sqlite3_file base;
	sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	enum fault_call call;
	int countdown; /* 0: off; 1: the next one fails */
	int code;
	bool for_good;
	int hits;
} plan;

void fault_vfs_plan(enum fault_call call, int n, int code, bool for_good)
{
	pthread_mutex_lock(&lock);
	plan.call = call;
	plan.countdown = n;
	plan.code = code;
	plan.for_good = for_good;
	plan.hits = 0;
	pthread_mutex_unlock(&lock);
}

int fault_vfs_hits(void)
{
	pthread_mutex_lock(&lock);
	int n = plan.hits;
	pthread_mutex_unlock(&lock);
	return n;
}

/* SQLITE_OK, or what the call gives instead of being done. */
static int fault(enum fault_call call)
{
	int rc = SQLITE_OK;
	pthread_mutex_lock(&lock);
	if (plan.countdown > 0 && plan.call == call) {
		if (plan.countdown > 1) {
			plan.countdown--;
		} else {
			rc = plan.code;
			plan.hits++;
			plan.countdown = plan.for_good ? 1 : 0;
		}
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

#define REAL(f) (((struct file *)(f))->real)
#define PASS(f, method, ...) (REAL(f)->pMethods->method(REAL(f), ##__VA_ARGS__))

static int do_close(sqlite3_file *f)
{
	return REAL(f)->pMethods ? PASS(f, xClose) : SQLITE_OK;
}

static int do_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	int rc = fault(FAULT_READ);
	return rc ? rc : PASS(f, xRead, p, n, at);
}

/* Half of it is written before it fails, as by a disk that is full. */
static int do_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int rc = fault(FAULT_WRITE);
	if (!rc)
		return PASS(f, xWrite, p, n, at);
	PASS(f, xWrite, p, n / 2, at);
	return rc;
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = fault(FAULT_TRUNCATE);
	return rc ? rc : PASS(f, xTruncate, size);
}

static int do_sync(sqlite3_file *f, int flags)
{
	int rc = fault(FAULT_SYNC);
	return rc ? rc : PASS(f, xSync, flags);
}

static int do_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	return PASS(f, xFileSize, ret);
}

static int do_lock(sqlite3_file *f, int level)
{
	return PASS(f, xLock, level);
}

static int do_unlock(sqlite3_file *f, int level)
{
	return PASS(f, xUnlock, level);
}

static int do_check_lock(sqlite3_file *f, int *ret)
{
	return PASS(f, xCheckReservedLock, ret);
}

static int do_control(sqlite3_file *f, int op, void *arg)
{
	return PASS(f, xFileControl, op, arg);
}

static int do_sector_size(sqlite3_file *f)
{
	return PASS(f, xSectorSize);
}

static int do_device(sqlite3_file *f)
{
	return PASS(f, xDeviceCharacteristics);
}

static int do_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	int rc = fault(FAULT_SHM);
	return rc ? rc : PASS(f, xShmMap, page, size, extend, ret);
}

static int do_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return PASS(f, xShmLock, at, n, flags);
}

static void do_shm_barrier(sqlite3_file *f)
{
	PASS(f, xShmBarrier);
}

static int do_shm_unmap(sqlite3_file *f, int remove)
{
	return PASS(f, xShmUnmap, remove);
}

static int do_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **ret)
{
	return PASS(f, xFetch, at, n, ret);
}

static int do_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
	return PASS(f, xUnfetch, at, p);
}

static const sqlite3_io_methods methods = {
	3,	     do_close,	     do_read,	    do_write,	do_truncate,	do_sync,   do_size,
	do_lock,     do_unlock,	     do_check_lock, do_control, do_sector_size, do_device, do_shm_map,
	do_shm_lock, do_shm_barrier, do_shm_unmap,  do_fetch,	do_unfetch,
};

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct file *file = (struct file *)f;
	file->real = (sqlite3_file *)(file + 1);
	file->real->pMethods = NULL;
	f->pMethods = NULL;
	int rc = fault(FAULT_OPEN);
	if (!rc)
		rc = real_vfs->xOpen(real_vfs, name, file->real, flags, ret_flags);
	/* A file that the system opened by half is to be closed too. */
	if (file->real->pMethods)
		f->pMethods = &methods;
	return rc;
}

void fault_vfs_install(void)
{
	static sqlite3_vfs vfs;
	real_vfs = sqlite3_vfs_find(NULL);
	vfs = *real_vfs;
	vfs.pNext = NULL;
	vfs.zName = "fault";
	vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
	vfs.xOpen = do_open;
	sqlite3_vfs_register(&vfs, 1);
}
