/* What nobody has read for long goes, and what belongs to nothing (cache.h). */
#include "base/limits.h"
#include "deploy/cache.h"

#define SWEEP_EVERY_US (24 * US_PER_HOUR)
/* While archives are being written. */
#define SWEEP_AGAIN_US (1 * US_PER_MINUTE)

int cache_tick(struct app *app, int64_t now_us, int64_t *ret_next_us, struct err *e)
{
	/* Of the ticker's thread alone. */
	static int64_t look_at_us, sweep_at_us;
	int64_t keep_us = app->options.cache_retention_us;
	_cleanup_arena_ struct arena a;
	int64_t oldest_us = INT64_MAX;
	bool more = true, done;
	int rc = 0;
	arena_init(&a, 0);
	*ret_next_us = look_at_us;
	if (now_us < look_at_us)
		return 0;
	while (rc == 0 && more)
		rc = cache_evict(app, &a, app->options.cache_mib * (int64_t)MIB, now_us - keep_us, &more, &oldest_us,
				 e);
	if (rc == 0 && now_us >= sweep_at_us) {
		rc = cache_sweep(app, &done, e);
		sweep_at_us = now_us + (rc == 0 && done ? SWEEP_EVERY_US : SWEEP_AGAIN_US);
	}
	if (rc < 0)
		return rc;
	/* What comes meanwhile is due no sooner than a whole time from now. */
	int64_t due_us = oldest_us < now_us ? oldest_us + keep_us : now_us + keep_us;
	look_at_us = due_us < sweep_at_us ? due_us : sweep_at_us;
	*ret_next_us = look_at_us;
	return 0;
}
