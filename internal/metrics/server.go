package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/sluicedaq/sluice/internal/config"
	"github.com/sluicedaq/sluice/internal/exit"
)

// What scrapers may take: a few ask every few seconds, and none of them is waited for.
const (
	atOnce     = 4  // requests in work
	perSecond  = 20 // requests; more are told to come later
	maxHeaders = 16 << 10
	headerTime = 2 * time.Second
	answerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	closeTime  = time.Second
)

// Server answers GET /metrics and GET /healthz. It has no part in what the process does: nobody waits for it.
type Server struct {
	listener net.Listener
	server   *http.Server
	done     chan error
}

// Start listens on the address and answers with what is on the board, until Close. With an empty address there is no
// server: it is nil. An address that can't be had gives an error that wraps ErrListen and has the code exit.Usage.
func Start(ctx context.Context, address config.Address, b *Board, logger *slog.Logger) (*Server, error) {
	if address == "" {
		return nil, nil //nolint:nilnil // a nil Server is one that serves nothing
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", string(address))
	if err != nil {
		reason := err
		if errors.Is(err, syscall.EADDRINUSE) {
			reason = errors.New("another process listens there")
		} else if op := (*net.OpError)(nil); errors.As(err, &op) {
			reason = op.Err
		}
		return nil, exit.Errorf(exit.Usage, "%w: %s: %w", ErrListen, address, reason)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(b, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", bounded(promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: atOnce, Timeout: answerTime,
	})))
	mux.Handle("GET /healthz", bounded(http.HandlerFunc(b.health)))
	s := &Server{
		listener: l, done: make(chan error, 1),
		server: &http.Server{
			Handler: mux, ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
			MaxHeaderBytes: maxHeaders, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		},
	}
	logger.Info("metrics are served", "url", s.URL()+"/metrics")
	go func() { s.done <- s.server.Serve(newCrowd(l)) }()
	return s, nil
}

// URL is the server's address.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close stops answering and waits until the server is gone. Requests in work get a moment. It may be called of a nil Server.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = s.server.Close()
	}
	if e := <-s.done; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("closing the metrics' listener: %w", err)
	}
	return nil
}

// bounded refuses requests that come too often, whoever sends them.
func bounded(h http.Handler) http.Handler {
	limit := rate.NewLimiter(perSecond, perSecond)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !limit.Allow() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		h.ServeHTTP(w, r)
	})
}
