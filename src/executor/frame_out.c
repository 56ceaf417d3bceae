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
	buf_init(&c->control, 2 * FRAME_MAX_BYTES + 64 * 1024);
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

/* Length of the first answer in the buffer; 0: not all of it is there. Cancels and files in front of it are taken out. */
static size_t first_message(struct channel *c)
{
	for (;;) {
		while (c->control.len && c->control.data[0] == CONTROL_CANCEL) {
			c->cancelled = true;
			buf_consume(&c->control, 1);
		}
		if (c->control.len < FRAME_HEADER_BYTES)
			return 0;
		const unsigned char *p = (const unsigned char *)c->control.data;
		size_t n = (size_t)p[1] | (size_t)p[2] << 8 | (size_t)p[3] << 16 | (size_t)p[4] << 24;
		if (n > FRAME_MAX_BYTES)
			c->dead = true; /* no agent that we know */
		if (c->dead || c->control.len < FRAME_HEADER_BYTES + n)
			return 0;
		if (p[0] != CONTROL_FILE)
			return FRAME_HEADER_BYTES + n;
		files_replace((struct str){ c->control.data + FRAME_HEADER_BYTES, n });
		buf_consume(&c->control, FRAME_HEADER_BYTES + n);
	}
}

static void take(struct channel *c)
{
	buf_consume(&c->control, c->taken);
	c->taken = 0;
}

/* No more than one message and the beginning of the next is held. A cancel comes after the last one of an answer. */
static void read_control(struct channel *c)
{
	while (!c->dead && first_message(c) == 0) {
		if (!buf_reserve(&c->control, 16 * 1024)) {
			c->dead = true;
			return;
		}
		ssize_t n = read(c->control_fd, c->control.data + c->control.len, 16 * 1024);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			c->dead = true;
		else
			c->control.len += (size_t)n;
	}
}

int channel_receive(struct channel *c, char *ret_type, struct str *ret_payload, struct err *e)
{
	for (;;) {
		channel_pump(c);
		size_t n = c->dead ? 0 : first_message(c);
		if (c->dead || (n == 0 && c->cancelled))
			return err_set(e, ERR_CANCELLED, "the run is cancelled");
		if (n) {
			*ret_type = c->control.data[0];
			*ret_payload = (struct str){ c->control.data + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES };
			c->taken = n;
			return 0;
		}
		struct pollfd watch[2] = { { .fd = c->pending.len ? c->out_fd : -1, .events = POLLOUT },
					   { .fd = c->control_fd, .events = POLLIN } };
		poll(watch, 2, -1);
	}
}

void channel_done(struct channel *c)
{
	buf_done(&c->pending);
	buf_done(&c->control);
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
	take(c);
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
