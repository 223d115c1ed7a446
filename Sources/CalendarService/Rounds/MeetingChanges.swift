import CalendarProtocol
import CalendarSync
import CalendarTime
import Diagnostics
import SecretMemory
import WireText

/// What the core has to be told of one object, from its reading before to its reading now, with all that has to be written for
/// it. Keys for new series are made on the way.
struct MeetingChanges: Sendable {
    let user: ConnectedUser
    let state: SealedState
    let sealer: MeetingSealer
    let keys: CalendarKeys
    /// Addresses that lead elsewhere are not passed on.
    let joinHosts: JoinHosts
    /// Hosts of rooms that an invitation may name itself.
    let videoHosts: JoinHosts
    let now: @Sendable () -> Timestamp

    /// - Parameters:
    ///   - object: as it is stored; revisions of its meetings are raised in it.
    ///   - series: of this round, by id; read from the store when they are needed.
    func tell(
        from old: ObjectReading, to new: ObjectReading, window: Range<Instant>, object: inout ObjectState,
        user counter: inout UserState, series: inout [String: SeriesState], everything: Bool = false
    ) async throws -> [DocumentChange] {
        let difference = MeetingDifference(from: old.meetings, to: new.meetings, left: new.left, window: window)
        var changes: [DocumentChange] = []
        var told: Set<String> = []
        for event in difference.events {
            switch event {
            case .created(let meeting):
                told.insert(meeting.id)
                changes += try await put(meeting, new, isNew: true, &object, &counter, &series)
            case .updated(let meeting, _):
                told.insert(meeting.id)
                changes += try await put(meeting, new, isNew: false, &object, &counter, &series)
            case .deleted(let meeting, let reason):
                guard object.meetings.removeValue(forKey: meeting.id) != nil else { continue }
                let revision = counter.next(now())
                changes.append(
                    try state.append(
                        .deleted(userID: user.id, meetingID: meeting.id, revision: revision, Self.removal(reason)),
                        of: user.id, &counter))
            }
        }
        // What the connector itself wrote is no change of a meeting, but the core knows whether details stand there.
        let before = Dictionary(
            old.meetings.map { ($0.id, $0.writtenRevision) }, uniquingKeysWith: { first, _ in first })
        for meeting in new.meetings where !told.contains(meeting.id) {
            guard let written = before[meeting.id], written != meeting.writtenRevision else { continue }
            told.insert(meeting.id)
            changes += try await put(meeting, new, isNew: false, &object, &counter, &series)
        }
        if everything {
            for meeting in new.meetings where told.insert(meeting.id).inserted {
                changes += try await put(meeting, new, isNew: true, &object, &counter, &series)
            }
        }
        // Of meetings that time took out of the window nothing is told.
        let present = Set(new.meetings.map(\.id))
        object.meetings = object.meetings.filter { present.contains($0.key) }
        return changes
    }

    private func put(
        _ meeting: Meeting, _ reading: ObjectReading, isNew: Bool, _ object: inout ObjectState,
        _ counter: inout UserState, _ series: inout [String: SeriesState]
    ) async throws -> [DocumentChange] {
        var changes: [DocumentChange] = []
        if series[meeting.seriesID] == nil {
            if let known = try await state.series(meeting.seriesID, of: user.id) {
                series[meeting.seriesID] = known
            } else {
                guard let resource = counter.resource else { throw Self.noCalendar }
                let made = try await keys.makeKey(in: resource)
                let fresh = SeriesState(keyURI: made.uri, renewKey: made.renew)
                series[meeting.seriesID] = fresh
                changes.append(try state.put(fresh, meeting.seriesID, of: user.id))
            }
        }
        guard var known = series[meeting.seriesID] else { throw Self.noCalendar }
        if let due = known.renewKey, due <= now(), let resource = counter.resource {
            let made = try await keys.makeKey(in: resource)
            (known.keyURI, known.renewKey) = (made.uri, made.renew)
            series[meeting.seriesID] = known
            changes.append(try state.put(known, meeting.seriesID, of: user.id))
        }
        let revision = counter.next(now())
        object.meetings[meeting.id] = revision
        let record = try sealer.record(
            meeting, of: user.id, revision: revision, keyURI: known.keyURI, key: try await keys.key(known.keyURI),
            spaceID: known.spaceID,
            joinURL: joinURL(of: meeting, reading))
        changes.append(try state.append(isNew ? .created(record) : .updated(record), of: user.id, &counter))
        return changes
    }

    /// Where it is met: by the details that stand there, else by the address that the invitation names as the room.
    private func joinURL(of meeting: Meeting, _ reading: ObjectReading) -> String? {
        guard meeting.sensitivity == .normal else { return nil }
        if let url = reading.joinURL(of: meeting), joinHosts.allows(url) { return url }
        guard let address = meeting.trigger?.address, videoHosts.allows(address) else { return nil }
        return address
    }

    private static func removal(_ reason: MeetingReader.Reason) -> CalendarEvent.Removal {
        switch reason {
        case .gone: .removed
        case .cancelled: .cancelled
        case .declined: .declined
        case .outsideWindow: .leftWindow
        }
    }

    private static let noCalendar = DiagnosedError(
        .calendarStore, fault: .store, "the user's calendar has no key yet", hint: "the next round makes one")
}

/// Where join details may lead (security model, rule 33): `https:` and `sip:` addresses of configured hosts, and of no other.
struct JoinHosts: Sendable {
    private let hosts: [String]

    init(_ hosts: [String]) { self.hosts = hosts.map { $0.lowercased() } }

    /// A host itself, and those below it.
    func allows(_ address: String) -> Bool {
        guard address.utf8.count <= 2048, address.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            let colon = address.firstIndex(of: ":")
        else { return false }
        let scheme = address[..<colon].lowercased()
        var rest = address[address.index(after: colon)...]
        switch scheme {
        case "https":
            guard rest.hasPrefix("//") else { return false }
            rest = rest.dropFirst(2)
            rest = rest.prefix { !"/?#\\".contains($0) }
            // A name before @ would make the host look like another one.
            guard !rest.contains("@") else { return false }
        case "sip", "sips":
            rest = rest.prefix { !";?".contains($0) }
            guard let at = rest.firstIndex(of: "@") else { return false }
            rest = rest[rest.index(after: at)...]
            guard !rest.contains("@") else { return false }
        default: return false
        }
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.count == 1 || parts[1].allSatisfy(\.isNumber) else { return false }
        let host = parts[0].lowercased()
        guard host.utf8.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) || $0 == 45 || $0 == 46 }) else {
            return false
        }
        return hosts.contains { host == $0 || host.hasSuffix(".\($0)") }
    }
}
