package main

import (
	"fmt"
	"io"
	"strings"
)

// logger prints one line per step at the level of SCONE_LOG; what it is given never contains a secret.
type logger struct {
	level int
	to    io.Writer
}

const (
	levelError = iota
	levelWarn
	levelInfo
	levelDebug
)

var levels = map[string]int{
	"error": levelError, "warn": levelWarn, "warning": levelWarn, "info": levelInfo, "debug": levelDebug, "trace": levelDebug,
}

// newLogger takes the level's name in any case; an unknown one, or none, is error.
func newLogger(level string, to io.Writer) *logger {
	return &logger{level: levels[strings.ToLower(level)], to: to}
}

func (l *logger) warn(format string, values ...any)  { l.print(levelWarn, "warn", format, values) }
func (l *logger) info(format string, values ...any)  { l.print(levelInfo, "info", format, values) }
func (l *logger) debug(format string, values ...any) { l.print(levelDebug, "debug", format, values) }

func (l *logger) print(level int, name, format string, values []any) {
	if level <= l.level {
		fmt.Fprintf(l.to, "[launcher] %s: %s\n", name, oneLine(fmt.Sprintf(format, values...)))
	}
}
