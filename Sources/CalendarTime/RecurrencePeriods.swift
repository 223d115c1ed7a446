import Diagnostics

extension RecurrenceRule {
    /// The most days that are looked at for one answer: a thousand years of them.
    static let mostDays = 400_000

    /// The local times of the rule from `start` on that lie in a window, in their order.
    ///
    /// Every period is judged alone, so a rule without COUNT begins at the window however long ago it started; one with
    /// COUNT is counted from its start. `start` itself is only among them when the rule says so.
    /// - Parameters:
    ///   - until: the last local time, from UNTIL in the zone of the event.
    ///   - limit: the most times to answer.
    /// - Throws: `calendar-rule-unsupported` when counting would look at more than `mostDays`.
    func times(
        from start: LocalTime, until: LocalTime?, in window: ClosedRange<LocalTime>, limit: Int
    ) throws(DiagnosedError) -> [LocalTime] {
        var count: Int?
        if case .count(let number) = end { count = number }
        let last = min(window.upperBound, until ?? window.upperBound)
        let rule = completed(by: start)
        let times = rule.timesOfDay(start)
        var index = 0
        if count == nil, window.lowerBound > start {
            index = max(0, rule.period(of: window.lowerBound.date, since: start.date) / interval)
        }
        var found: [LocalTime] = []
        var looked = 0
        while looked < Self.mostDays {
            guard let days = rule.days(ofPeriod: index * interval, since: start.date),
                days.lowerBound <= last.date.number
            else { return found }
            index += 1
            looked += days.count
            let matching = days.filter { rule.matches(CivilDate(number: $0)) }
            for time in rule.chosen(matching, times) where time >= start {
                guard time <= last else { return found }
                if let left = count {
                    guard left > 0 else { return found }
                    count = left - 1
                }
                if time >= window.lowerBound { found.append(time) }
                guard found.count < limit else { return found }
            }
            if count == 0 { return found }
        }
        throw .unsupportedRule("a rule that is counted through in \(Self.mostDays) days")
    }

    /// With what DTSTART says for the parts that the rule leaves out.
    private func completed(by start: LocalTime) -> RecurrenceRule {
        var rule = self
        let (_, month, day) = start.date.fields
        let hasDays = !weekdays.isEmpty || !monthDays.isEmpty || !yearDays.isEmpty
        switch frequency {
        case .daily: break
        case .weekly: if !hasDays { rule.set(weekday: start.date.weekday) }
        case .monthly: if !hasDays { rule.set(monthDay: day) }
        case .yearly:
            if hasDays { break }
            if !weekNumbers.isEmpty {
                rule.set(weekday: start.date.weekday)
            } else {
                rule.set(monthDay: day)
                if months.isEmpty { rule.set(month: month) }
            }
        }
        return rule
    }

    private func timesOfDay(_ start: LocalTime) -> [Int] {
        let second = start.secondOfDay
        let hours = self.hours.isEmpty ? [second / 3600] : self.hours.sorted()
        let minutes = self.minutes.isEmpty ? [second / 60 % 60] : self.minutes.sorted()
        let seconds = self.seconds.isEmpty ? [second % 60] : self.seconds.sorted()
        return hours.flatMap { hour in
            minutes.flatMap { minute in seconds.map { hour * 3600 + minute * 60 + $0 } }
        }
    }

    /// All times of one period, or those at the places of BYSETPOS.
    private func chosen(_ days: [Int], _ times: [Int]) -> [LocalTime] {
        func time(_ place: Int) -> LocalTime {
            LocalTime(seconds: days[place / times.count] * 86_400 + times[place % times.count])
        }
        let count = days.count * times.count
        guard !positions.isEmpty else { return (0..<count).map(time) }
        let places = positions.map { $0 > 0 ? $0 - 1 : count + $0 }.filter { 0..<count ~= $0 }
        return Set(places).sorted().map(time)
    }

    /// How many periods after the one of `start` a day lies.
    private func period(of date: CivilDate, since start: CivilDate) -> Int {
        switch frequency {
        case .daily: date.number - start.number
        case .weekly: (weekBegin(date) - weekBegin(start)) / 7
        case .monthly: (date.year - start.year) * 12 + date.month - start.month
        case .yearly: date.year - start.year
        }
    }

    /// The days of a period; nil beyond the year 9999.
    private func days(ofPeriod index: Int, since start: CivilDate) -> Range<Int>? {
        let first: Int
        let count: Int
        switch frequency {
        case .daily: (first, count) = (start.number + index, 1)
        case .weekly: (first, count) = (weekBegin(start) + index * 7, 7)
        case .monthly:
            let months = start.year * 12 + start.month - 1 + index
            guard months / 12 <= 9999 else { return nil }
            first = CivilDate.number(months / 12, months % 12 + 1, 1)
            count = CivilDate.days(in: months % 12 + 1, of: months / 12)
        case .yearly:
            guard start.year + index <= 9999 else { return nil }
            (first, count) = (CivilDate.number(start.year + index, 1, 1), CivilDate.days(of: start.year + index))
        }
        return first <= Self.lastDay ? first..<first + count : nil
    }

    private static let lastDay = CivilDate.number(9999, 12, 31)

    private func weekBegin(_ date: CivilDate) -> Int { date.number - (date.weekday - weekStart + 7) % 7 }

    private func matches(_ date: CivilDate) -> Bool {
        let (year, month, day) = date.fields
        if !months.isEmpty, !months.contains(month) { return false }
        if !monthDays.isEmpty {
            let fromEnd = day - CivilDate.days(in: month, of: year) - 1
            guard monthDays.contains(day) || monthDays.contains(fromEnd) else { return false }
        }
        let ofYear = date.number - CivilDate.number(year, 1, 1)
        if !yearDays.isEmpty {
            guard yearDays.contains(ofYear + 1) || yearDays.contains(ofYear - CivilDate.days(of: year)) else {
                return false
            }
        }
        if !weekNumbers.isEmpty {
            let (week, weeks) = weekNumber(date, year)
            guard weekNumbers.contains(week) || weekNumbers.contains(week - weeks - 1) else { return false }
        }
        guard !weekdays.isEmpty else { return true }
        // The nth of its month, or of its year in a rule of years without months.
        let isOfYear = frequency == .yearly && months.isEmpty
        let place = isOfYear ? ofYear : day - 1
        let length = isOfYear ? CivilDate.days(of: year) : CivilDate.days(in: month, of: year)
        let weekday = date.weekday
        return weekdays.contains { item in
            item.weekday == weekday
                && (item.ordinal == nil || item.ordinal == place / 7 + 1
                    || item.ordinal == -((length - 1 - place) / 7 + 1))
        }
    }

    /// The number of a day's week, and how many weeks the year of that week has: week 1 has four days of its year.
    private func weekNumber(_ date: CivilDate, _ year: Int) -> (week: Int, weeks: Int) {
        func firstWeek(_ year: Int) -> Int {
            weekBegin(CivilDate(number: CivilDate.number(year, 1, 4)))
        }
        var ofYear = year
        if date.number < firstWeek(year) { ofYear -= 1 }
        if date.number >= firstWeek(year + 1) { ofYear += 1 }
        let first = firstWeek(ofYear)
        return ((date.number - first) / 7 + 1, (firstWeek(ofYear + 1) - first) / 7)
    }
}
