// Command synthday writes made network days into a folder.
package main

import (
	"flag"
	"log"
	"strings"
	"time"

	"tidewatch/internal/synth"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "", "folder to write to")
	seed := flag.Uint64("seed", 1, "seed of the random numbers")
	days := flag.Int("days", 1, "number of days")
	hosts := flag.Int("hosts", 30, "hosts with users")
	events := flag.Int("events", 0, "records of conn, dns and ssl to aim at; 0 for what the hosts do by themselves")
	activity := flag.Float64("activity", 1, "how busy the hosts are, if -events is 0")
	attacks := flag.String("attacks", "grid", "none, story or grid")
	format := flag.String("format", "zeek", "zeek, json and eve, or several with commas")
	logs := flag.String("logs", "", "logs to write, such as conn,dns,ssl; empty for all")
	start := flag.String("start", "2026-11-20", "first day")
	flag.Parse()
	if *out == "" {
		log.Fatal("synthday: -out names no folder")
	}
	day, err := time.Parse("2006-01-02", *start)
	if err != nil {
		log.Fatal("synthday: ", err)
	}
	o := synth.Options{Seed: *seed, Start: day, Days: *days, Hosts: *hosts, Activity: *activity, Attacks: *attacks}
	if *events > 0 {
		if o.Activity, err = synth.ActivityFor(o, *events); err != nil {
			log.Fatal("synthday: ", err)
		}
	}
	var only []string
	if *logs != "" {
		only = strings.Split(*logs, ",")
	}
	if err := synth.New(o).Write(*out, strings.Split(*format, ","), only); err != nil {
		log.Fatal("synthday: ", err)
	}
}
