/// Style and script of the health page; both stand in it as they are, so neither may hold `</`.
enum HealthPageAssets {
    static let style: HTML = """
        :root{--ground:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#586373;--rule:#dde2e9;--ok:#2a6f47;--okbg:#e5f3ea;\
        --warn:#8a5300;--warnbg:#fdf1dc;--fail:#a3211b;--failbg:#fce8e6;--none:#4d5866;--nonebg:#e9edf2;--line:#3b6ea8;\
        --area:#dbe7f4}
        @media (prefers-color-scheme:dark){:root{--ground:#12161c;--card:#1a2028;--ink:#e6eaf0;--soft:#a0abba;\
        --rule:#2c3541;--ok:#7fd1a0;--okbg:#173326;--warn:#f0bd6a;--warnbg:#38290f;--fail:#ff9d94;--failbg:#401a18;\
        --none:#b4bfcc;--nonebg:#29323d;--line:#7fb0e6;--area:#21354a}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",\
        "DejaVu Sans",sans-serif}
        header,main,footer{max-width:64rem;margin:0 auto;padding:0 1.25rem}
        header{padding-top:1.75rem;display:flex;flex-wrap:wrap;align-items:baseline;gap:.25rem 1rem}
        h1{font-size:1.35rem;margin:0}
        h2{font-size:1.05rem;margin:2rem 0 .75rem}
        h3{font-size:1rem;margin:0 0 .4rem}
        p{margin:.25rem 0}
        header p,.quiet{color:var(--soft);font-size:.875rem}
        code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.85em}
        .state,.alarm,.spark,table{background:var(--card);border:1px solid var(--rule);border-radius:10px}
        .state{margin-top:1rem;padding:1.1rem 1.25rem;border-left:6px solid var(--none)}
        .ok .state{border-left-color:var(--ok)}
        .warn .state{border-left-color:var(--warn)}
        .fail .state{border-left-color:var(--fail)}
        .word{font-size:1.5rem;font-weight:600;line-height:1.25;margin:0 0 .25rem}
        .ok .word{color:var(--ok)}
        .warn .word{color:var(--warn)}
        .fail .word{color:var(--fail)}
        .alarm{padding:1rem 1.25rem;margin-bottom:.75rem;border-left:6px solid var(--warn)}
        .alarm.error,.alarm.critical{border-left-color:var(--fail)}
        .alarm p,.state p,td,th{overflow-wrap:anywhere}
        .detail{font-weight:600}
        .fix{margin-top:.4rem}
        .badge,.count{display:inline-block;border-radius:999px;padding:.05rem .6rem;font-size:.8rem;font-weight:600;\
        background:var(--nonebg);color:var(--none);white-space:nowrap}
        .badge.ok{background:var(--okbg);color:var(--ok)}
        .badge.warn,.badge.warning{background:var(--warnbg);color:var(--warn)}
        .badge.fail,.badge.error,.badge.critical{background:var(--failbg);color:var(--fail)}
        .sparks{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.75rem}
        .spark{margin:0;padding:.8rem 1rem}
        .spark figcaption,.most{color:var(--soft);font-size:.85rem}
        .now{font-size:1.25rem;font-weight:600;font-variant-numeric:tabular-nums}
        .spark svg{display:block;width:100%;height:44px}
        .line{fill:none;stroke:var(--line);stroke-width:1.5;vector-effect:non-scaling-stroke;stroke-linejoin:round}
        .area{fill:var(--area)}
        .base{stroke:var(--rule);vector-effect:non-scaling-stroke}
        table{width:100%;border-collapse:separate;border-spacing:0;overflow:hidden}
        th,td{text-align:left;vertical-align:top;padding:.6rem .9rem;border-top:1px solid var(--rule)}
        thead th{border-top:0;color:var(--soft);font-size:.85rem;font-weight:600;white-space:nowrap}
        tbody th{font-weight:600}
        tbody th .quiet{font-weight:400}
        td time{white-space:nowrap;color:var(--soft);font-size:.875rem;font-variant-numeric:tabular-nums}
        footer{padding-top:1.5rem;padding-bottom:2.5rem;display:flex;flex-wrap:wrap;align-items:center;gap:.5rem 1.25rem;\
        color:var(--soft);font-size:.875rem}
        footer #stale{flex-basis:100%;color:var(--fail);font-weight:600}
        footer a{color:inherit;margin-right:.6rem}
        button{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--rule);border-radius:8px;\
        padding:.3rem .8rem;cursor:pointer}
        a:focus-visible,button:focus-visible,h2:focus-visible{outline:3px solid var(--line);outline-offset:2px}
        .skip{position:absolute;left:-99rem}
        .skip:focus{left:1rem;top:.5rem;background:var(--card);color:var(--ink);padding:.3rem .8rem}
        @media (max-width:40rem){thead{display:none}tr,tbody th,td{display:block;padding:.15rem .9rem;border:0}\
        tr{border-top:1px solid var(--rule);padding:.6rem 0}}
        @media (forced-colors:active){.badge,.count{border:1px solid}}
        """

    /// Renews the parts marked `data-live` where they differ: what somebody reads or has focused stays where it is.
    static let script: HTML = """
        (function(){
        "use strict";
        var pause=document.getElementById("pause"),stale=document.getElementById("stale");
        var paused=false,last=Date.now();
        function take(text){
        var fresh=new DOMParser().parseFromString(text,"text/html");
        document.querySelectorAll("[data-live]").forEach(function(old){
        var part=fresh.getElementById(old.id);
        if(part&&part.innerHTML!==old.innerHTML){old.replaceChildren.apply(old,Array.from(part.childNodes));}
        });
        document.body.className=fresh.body.className;
        document.title=fresh.title;
        }
        function tell(text){if(stale.textContent!==text){stale.textContent=text;}}
        function renew(){
        if(paused||document.hidden){return;}
        fetch("/",{headers:{Accept:"text/html"},cache:"no-store"}).then(function(answer){return answer.text();}).then(\
        function(text){take(text);last=Date.now();tell("");}).catch(function(){
        if(Date.now()-last>10000){tell("The service does not answer. What stands here is as old as it says above.");}
        });
        }
        pause.hidden=false;
        pause.addEventListener("click",function(){
        paused=!paused;
        pause.setAttribute("aria-pressed",String(paused));
        pause.textContent=paused?"Renew again":"Pause renewing";
        renew();
        });
        document.addEventListener("visibilitychange",renew);
        setInterval(renew,5000);
        })();
        """
}
