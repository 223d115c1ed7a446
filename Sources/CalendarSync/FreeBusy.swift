package import CalendarTime

/// When a user is busy, as seen from meetings: no text, nobody's name, private ones count.
package struct FreeBusy: Sendable, Hashable {
    package struct Span: Sendable, Hashable {
        package let start: Instant
        package let end: Instant
        package let busy: Meeting.Busy

        package init(start: Instant, end: Instant, busy: Meeting.Busy) {
            self.start = start
            self.end = end
            self.busy = busy
        }
    }

    /// In their order, none touching another of its kind; where several meetings are at once the strongest counts.
    package let spans: [Span]

    package init(of meetings: [Meeting], in window: Range<Instant>) {
        let busy = meetings.filter { $0.busy != .free && $0.status != .cancelled && $0.start < $0.end }
        var changes: [(instant: Instant, rank: Int, isBegin: Bool)] = []
        for meeting in busy {
            let start = max(meeting.start, window.lowerBound)
            let end = min(meeting.end, window.upperBound)
            guard start < end else { continue }
            let rank = Self.ranks.firstIndex(of: meeting.busy) ?? 0
            changes += [(start, rank, true), (end, rank, false)]
        }
        changes.sort { $0.instant < $1.instant }
        var open = [Int](repeating: 0, count: Self.ranks.count)
        var spans: [Span] = []
        var from = window.lowerBound
        for change in changes {
            if from < change.instant, let rank = open.lastIndex(where: { $0 > 0 }) {
                let kind = Self.ranks[rank]
                if let last = spans.last, last.end == from, last.busy == kind {
                    spans[spans.count - 1] = Span(start: last.start, end: change.instant, busy: kind)
                } else {
                    spans.append(Span(start: from, end: change.instant, busy: kind))
                }
            }
            from = change.instant
            open[change.rank] += change.isBegin ? 1 : -1
        }
        self.spans = spans
    }

    private static let ranks: [Meeting.Busy] = [.elsewhere, .tentative, .busy, .outOfOffice]
}
