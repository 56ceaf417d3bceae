#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "executor/executor.h"
#include "executor/plan.h"

/* Output is not read from the steps while more than this waits to be written: a slow agent slows the program down. */
#define PENDING_HIGH_BYTES (256 * 1024)
#define PENDING_MAX_BYTES (8 * 1024 * 1024)

void channel_init(struct channel *c, int out_fd, int control_fd)
{
	*c = (struct channel){ .out_fd = out_fd, .control_fd = control_fd };
	buf_init(&c->pending, PENDING_MAX_BYTES);
	fcntl(out_fd, F_SETFL, fcntl(out_fd, F_GETFL) | O_NONBLOCK);
	fcntl(control_fd, F_SETFL, fcntl(control_fd, F_GETFL) | O_NONBLOCK);
}

void channel_frame(struct channel *c, char type, struct str payload)
{
	BUG_ON(payload.n > FRAME_MAX_BYTES);
	const unsigned char header[FRAME_HEADER_BYTES] = { (unsigned char)type, payload.n & 0xFF, payload.n >> 8 & 0xFF,
							   payload.n >> 16 & 0xFF, payload.n >> 24 & 0xFF };
	buf_add(&c->pending, header, sizeof(header));
	buf_add_str(&c->pending, payload);
	if (buf_failed(&c->pending))
		c->dead = true;
}

void channel_output(struct channel *c, struct str bytes)
{
	if (bytes.n == 0)
		return;
	if (bytes.n > FRAME_MAX_BYTES)
		bytes.n = FRAME_MAX_BYTES;
	c->in_line = bytes.p[bytes.n - 1] != '\n';
	channel_frame(c, FRAME_OUTPUT, bytes);
}

void channel_say(struct channel *c, struct str lines)
{
	if (c->in_line)
		channel_output(c, STR("\n"));
	channel_output(c, lines);
}

void channel_line(struct channel *c, const char *fmt, ...)
{
	_cleanup_buf_ struct buf b;
	va_list ap;
	buf_init(&b, FRAME_MAX_BYTES);
	va_start(ap, fmt);
	buf_vaddf(&b, fmt, ap);
	va_end(ap);
	/* A command may be longer than what fits: then only a part of it is shown. */
	if (buf_failed(&b)) {
		buf_reset(&b);
		va_start(ap, fmt);
		char *part = malloc(FRAME_MAX_BYTES - 64);
		int n = part ? vsnprintf(part, FRAME_MAX_BYTES - 64, fmt, ap) : 0;
		va_end(ap);
		if (n > 0)
			buf_adds(&b, part);
		free(part);
		buf_adds(&b, " (cut)");
	}
	buf_addc(&b, '\n');
	channel_say(c, buf_str(&b));
}

bool channel_full(const struct channel *c)
{
	return c->pending.len > PENDING_HIGH_BYTES;
}

static void read_control(struct channel *c)
{
	char bytes[64];
	for (;;) {
		ssize_t n = read(c->control_fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			c->dead = true;
			return;
		}
		if (memchr(bytes, CONTROL_CANCEL, (size_t)n))
			c->cancelled = true;
	}
}

void channel_pump(struct channel *c)
{
	while (c->pending.len && !c->dead) {
		ssize_t n = write(c->out_fd, c->pending.data, c->pending.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			c->dead = true;
		if (n <= 0)
			break;
		buf_consume(&c->pending, (size_t)n);
	}
	if (!c->dead)
		read_control(c);
}

void channel_flush(struct channel *c)
{
	for (;;) {
		channel_pump(c);
		if (c->dead || c->pending.len == 0)
			return;
		struct pollfd watch[2] = { { .fd = c->out_fd, .events = POLLOUT },
					   { .fd = c->control_fd, .events = POLLIN } };
		poll(watch, 2, -1);
	}
}
