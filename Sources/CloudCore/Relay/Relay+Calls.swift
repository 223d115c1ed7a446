import LinkProtocol

// Calls from one service to another: a string from a link instead of from a device, with one outcome in any case.
extension Relay {
    /// Delivers a call like any string, under a name of the calling service, or refuses it at once:
    ///
    /// 1. The two destinations' customers have agreed on calls; or a worker calls the KMS of its own organisation, or a
    ///    service of the core, which answers it itself.
    /// 2. The destination has a link now: a client waits, so nothing is kept for later.
    /// 3. There is room, at the destination and for this caller.
    ///
    /// The half has judged before that the link is open and below its limit of calls.
    mutating func call(
        _ call: UInt64, _ destination: String, _ text: [UInt8], from link: LinkID, now: Int64
    ) -> [Action] {
        guard let caller = links[link], callable[caller.grant.destination]?.contains(destination) == true else {
            return settle(call, of: link, .refused(.unknownDestination))
        }
        if CloudCoreConfiguration.ownServices.contains(destination) {
            return [.called(link, call: call, destination: destination, text)]
        }
        guard openLinkCount(of: destination) > 0 else { return settle(call, of: link, .refused(.notLinked)) }
        let origin = Origin.link(link, call: call)
        // An opaque name of the service, never of one of its users.
        let source = "service/\(caller.grant.organisation)/\(caller.node)"
        switch submit([text], to: destination, from: source, origin: origin, now: now) {
        case .failure: return settle(call, of: link, .refused(.tooMany))
        case .success(let actions):
            links[link]?.calls.insert(origin)
            for id in origins[origin] ?? [] { callAges.insert(id) }
            return actions
        }
    }

    /// The one outcome of a call, when its link is still there.
    mutating func settle(_ call: UInt64, of link: LinkID, _ outcome: LinkCallOutcome) -> [Action] {
        links[link]?.calls.remove(.link(link, call: call))
        if case .refused = outcome { counts.callsRefused += 1 }
        return links[link]?.half.settle(call, outcome).map { [.send(link, $0)] } ?? []
    }

    mutating func refuseOldCalls(_ now: Int64) -> [Action] {
        var actions: [Action] = []
        while let id = callAges.first {
            if let request = requests[id] {
                guard request.accepted + limits.callMilliseconds <= now else { break }
                forget(id)
                if case .link(let caller, let call) = request.origin {
                    actions += settle(call, of: caller, .refused(.timeout))
                }
            }
            callAges.removeFirst()
        }
        return actions
    }
}
