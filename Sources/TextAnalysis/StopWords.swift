/// Words that every other message has: they are not indexed, and count only as places in a phrase.
///
/// Short lists on purpose. Frequent words are what an attacker labels first, and 35 of English make up 28 % of all
/// postings; each further one could be something that somebody looks for. Part of the index format, folded as words are.
enum StopWords {
    static func list(of language: Language) -> Set<[UInt8]> {
        Set(text(language).split { $0 == " " || $0 == "\n" }.map { TextAnalyser.folded(String($0)) })
    }

    private static func text(_ language: Language) -> String {
        switch language {
        case .english:
            "a an and are as at be but by do for from have i if in is it me my not of on or so that the this to was we with you your"
        case .german:
            """
            aber als am an auch auf aus bei das dass dem den der des die du ein eine einen er es für hat ich ihr im in ist mit
            nicht noch sie sind und von wie wir zu
            """
        case .french:
            """
            à au aux avec ce ces dans de des du elle en est et il ils je la le les mais ne nous ou par pas pour que qui sa se
            son sur tu un une vous
            """
        case .spanish:
            "a al como con de del el en es está la las lo los me mi no o para pero por que se si su te tu un una y yo"
        case .italian:
            "a al che chi con da dal dei del della di e è gli ha i il in io la le lo ma mi non o per se si sono su ti tu un una"
        case .portuguese:
            "a ao as com da das de do dos e é ele em eu mas me na não no nos o os ou para por que se um uma você"
        case .dutch:
            "aan als dat de die dit een en er het hij ik in is je maar met naar niet of om op te van voor was we wij ze zijn"
        case .swedish:
            "att av de den det du en ett för han har i inte jag kan man med men och om på så som till var vi är"
        case .norwegian:
            "at av de den det du en er et for han har i ikke jeg kan med men og om på så som til var vi å"
        case .danish:
            "af at de den det du en er et for han har i ikke jeg kan med men og om på så som til var vi"
        case .finnish:
            "ei en että hän he ja jos kuin me mitä mutta myös ne niin nyt oli olen on ovat se sen te tai vai"
        case .russian:
            "а бы в вы да для до ее же за и из или к как мы на не но о он она они от по с так то ты у что это я"
        case .hungarian:
            "a az csak de egy ez és ha hogy is kell már meg mert mint nem van vagy volt"
        case .romanian:
            "a ai am ar că ce cu de din e este eu în la mai nu o pe pentru sau se și şi să sunt un"
        case .turkish:
            "ama ben bir bu da daha de en gibi için ile ki mi ne o sen şu var ve ya"
        case .greek:
            "από για δεν είναι η θα και με μου να ο οι που σε στη στο στον τα την της τι το τον του των"
        case .arabic:
            "أن إلى إن الذي التي عن على في كان لا لم ما من هذا هذه هو هي و أو"
        case .hindi:
            "का की के को में मैं ने से है हैं और यह वह पर भी नहीं तो ही था थी हो एक"
        }
    }
}
