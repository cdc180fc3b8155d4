// Package metrics shows the numbers of the status messages to Prometheus: table.go has every metric, Board keeps the
// newest status of each process, and Server answers whoever scrapes. A scrape reads what was published last, so that it
// never asks a process for anything and takes no lock that frames need.
package metrics
