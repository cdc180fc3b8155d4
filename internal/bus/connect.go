package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
	"github.com/sluicedaq/sluice/internal/refusal"
)

// The times of a connection.
const (
	dialTime     = 2 * time.Second        // one attempt
	firstDelay   = 50 * time.Millisecond  // before the second attempt, doubled from then on
	longestDelay = 500 * time.Millisecond // between attempts
	pingEvery    = 3 * time.Second
	pingsLost    = 2
	writeTime    = 10 * time.Second // one write: a broker that stands still cuts a client off after as long, and holds nobody longer
)

// Options says which broker to connect to and as whom.
type Options struct {
	config.NATS
	Role    string // "acquire", "writer", "analyze", "operator" or "monitor": where answers go, unless NATSInbox says it
	Process string // "acquire", "writer-1", …: the connection's name
	Log     *slog.Logger
	// Refusals takes down when messages come faster than they are taken; nil is nobody.
	Refusals *refusal.Book
}

// Connect connects to the broker, trying again for ConnectTimeout. The connection then lives until it is
// closed: it reconnects for ever and keeps nothing for the time it is down, since stale messages do harm.
// Where NATS is empty, the broker is NATSFile's, else nats://127.0.0.1:4222. Errors wrap ErrNoBroker and have
// the code exit.Usage.
func Connect(ctx context.Context, o Options) (*nats.Conn, error) {
	servers, options := o.NATS.NATS, o.options()
	if servers == "" && o.NATSFile != "" { // it says all that there is to know
		e, err := ReadEndpoint(o.NATSFile)
		if err != nil {
			return nil, &exit.Error{Code: exit.Usage, Err: err}
		}
		return o.dial(ctx, e.URL, append(options, nats.UserInfo(e.User, e.Password)))
	}
	if servers == "" {
		servers = nats.DefaultURL
	}
	if err := checkURLs(servers); err != nil {
		return nil, err
	}
	doors, err := o.doors()
	if err != nil {
		return nil, &exit.Error{Code: exit.Usage, Err: fmt.Errorf("%w: %w", ErrNoBroker, err)}
	}
	options = append(options, doors...)
	return o.dial(ctx, servers, options)
}

// dial tries until it succeeds, the failure is final or the time is over.
func (o Options) dial(ctx context.Context, servers string, options []nats.Option) (*nats.Conn, error) {
	began := time.Now()
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		nc, err := nats.Connect(servers, options...)
		if err == nil {
			return nc, nil
		}
		final := !temporary(err)
		if final || time.Since(began)+delay > o.ConnectTimeout {
			text := fmt.Sprintf("nobody answers after %s and %d attempts", time.Since(began).Round(time.Millisecond), attempt)
			if final {
				text = "refused"
				if why := o.expired(time.Now()); why != nil && errors.Is(err, nats.ErrAuthorization) {
					err = why
				}
			}
			return nil, exit.Errorf(exit.Usage, "%w at %s: %s: %w", ErrNoBroker, redactURLs(servers), text, err)
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w at %s: %w", ErrNoBroker, redactURLs(servers), context.Cause(ctx))
		}
		delay = min(2*delay, longestDelay)
	}
}

// temporary reports whether trying again may help.
func temporary(err error) bool {
	return !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrAuthExpired) &&
		!errors.Is(err, nats.ErrNkeysNotSupported) && !errors.Is(err, nats.ErrSecureConnRequired) && !errors.Is(err, nats.ErrSecureConnWanted) &&
		!distrusted(err)
}

// options are the connection's, without address and credentials.
func (o Options) options() []nats.Option {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	often := &rate.Sometimes{Interval: time.Second}
	inbox := o.NATSInbox
	if inbox == "" && o.Role != "" {
		inbox = nats.InboxPrefix + o.Role
	}
	options := []nats.Option{
		nats.Name("sluice " + o.Process),
		nats.Timeout(dialTime),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(pingEvery),
		nats.MaxPingsOutstanding(pingsLost),
		nats.FlusherTimeout(writeTime),
		nats.CustomReconnectDelay(func(attempts int) time.Duration {
			d := min(firstDelay<<min(attempts, 8), longestDelay)
			return d/2 + rand.N(d/2)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil when we closed it
				log.Warn("the connection to NATS is down", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("the connection to NATS is up again", "url", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errors.Is(err, nats.ErrSlowConsumer) && o.Refusals != nil {
				o.Refusals.Note(refusal.Dropped, err, "subject", subject)
				return
			}
			level := slog.LevelWarn
			if o.Role == "operator" || o.Role == "monitor" { // who is refused gets it as the error of what he asked for
				level = slog.LevelDebug
			}
			often.Do(func() {
				log.Log(context.Background(), level, "NATS reports an error", "subject", subject, "error", err)
			})
		}),
	}
	if inbox != "" {
		options = append(options, nats.CustomInboxPrefix(inbox))
	}
	return options
}

// checkURLs refuses what can't be a list of NATS servers.
func checkURLs(servers string) error {
	for s := range strings.SplitSeq(servers, ",") {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			return exit.Errorf(exit.Usage, "%w: %q is not a server's URL: want nats://HOST:PORT", ErrNoBroker, redactURLs(s))
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return exit.Errorf(exit.Usage, "%w: %q: the scheme %q is none of nats, tls, ws, wss", ErrNoBroker, redactURLs(s), u.Scheme)
		}
	}
	return nil
}

// Ails is what ails a connection, "" for nothing.
func Ails(nc *nats.Conn) string {
	if nc.IsConnected() {
		return ""
	}
	return "the broker is not connected"
}

// redactURLs drops user names, passwords and tokens from a list of servers.
func redactURLs(servers string) string {
	var out []string
	for s := range strings.SplitSeq(servers, ",") {
		s = strings.TrimSpace(s)
		scheme, rest, ok := strings.Cut(s, "://")
		if !ok {
			scheme, rest = "nats", s
		}
		out = append(out, scheme+"://"+rest[strings.LastIndex(rest, "@")+1:])
	}
	return strings.Join(out, ",")
}
